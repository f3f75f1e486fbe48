//! The Engine API on TCP ports of the loopback, where the settings ask for it: with TLS for clients that hold the
//! certificate, or in the open for every program of this computer.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::{DaemonError, tls};
use crate::home::Home;
use crate::settings::Settings;

/// How long a client may take to show its certificate.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After a connection that could not be taken: out of descriptors, or gone again.
const PAUSE: Duration = Duration::from_millis(50);

/// What the settings ask for.
pub(super) struct Doors {
    pub(super) secure: Option<SecureDoor>,
    pub(super) insecure: Option<Door>,
}

/// A port without TLS.
pub(super) struct Door(TcpListener);

/// A port with TLS.
pub(super) struct SecureDoor(TcpListener, TlsAcceptor);

/// Listens before the machine is there: a port that is taken is known at once.
pub(super) async fn open(settings: &Settings, home: &Home) -> Result<Doors, DaemonError> {
    let secure = match settings.listen_tcp {
        Some(address) => {
            let server = tls::server(&home.certificates())?;
            Some(SecureDoor(listen(address).await?, server))
        }
        None => None,
    };
    let insecure = match settings.listen_tcp_insecure {
        Some(address) => Some(Door(listen(address).await?)),
        None => None,
    };
    Ok(Doors { secure, insecure })
}

async fn listen(address: SocketAddr) -> Result<TcpListener, DaemonError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|cause| DaemonError::Unusable(address.to_string(), cause))
}

impl Door {
    /// Who comes.
    pub(super) fn clients(self) -> impl Stream<Item = io::Result<std::future::Ready<io::Result<TcpStream>>>> {
        stream::unfold(self.0, async |listener| {
            Some((Ok(std::future::ready(Ok(next(&listener).await))), listener))
        })
    }
}

impl SecureDoor {
    /// Who comes; each still has to show its certificate.
    pub(super) fn clients(
        self,
    ) -> impl Stream<Item = io::Result<impl Future<Output = io::Result<TlsStream<TcpStream>>> + Send + 'static>>
    {
        stream::unfold(self, async |Self(listener, acceptor)| {
            let client = next(&listener).await;
            let handshake = acceptor.accept(client);
            let shown = async move { timeout(HANDSHAKE, handshake).await? };
            Some((Ok(shown), Self(listener, acceptor)))
        })
    }
}

/// The next client. A listening socket does not break; what fails is one connection.
async fn next(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                // Keystrokes and frames must not wait for more.
                let _ = client.set_nodelay(true);
                return client;
            }
            Err(error) => {
                debug!("a TCP client was lost: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}
