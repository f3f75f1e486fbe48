//! One boot's conversation with its guest: what it is told in `Configure`, and the streams it may open.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use holm_api::link::{Configure, GuestMessage, HostMessage, Proxy, Registries, Token};
use holm_api::port;
use holm_vmm::{Listener, Machine, Stream};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{info, warn};

use super::link::{Link, SessionError, unix_nanos};
use super::net::{Gateway, GatewayConfig};

/// A stream that does not open with its token within this time is closed.
const TOKEN_DEADLINE: Duration = Duration::from_secs(10);

/// What every guest of this daemon is told.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) registries: Registries,
    pub(super) proxy: Option<Proxy>,
    pub(super) root_certificates: Arc<str>,
    pub(super) hypervisor: &'static str,
    pub(super) image_digest: Option<String>,
}

#[cfg(test)]
impl Guest {
    pub(super) fn for_tests() -> Self {
        Self {
            registries: Registries::default(),
            proxy: None,
            root_certificates: Arc::from(""),
            hypervisor: "test",
            image_digest: None,
        }
    }
}

/// Serves the guest of `machine` until its link ends: configures it, passes on what it says, and runs its network.
pub(super) async fn serve(
    guest: &Guest,
    machine: &dyn Machine,
    heard: mpsc::Sender<GuestMessage>,
    orders: mpsc::Receiver<HostMessage>,
) -> Result<(), SessionError> {
    // Before the guest can know that it should dial.
    let listener = machine.listen(port::NETWORK.0)?;
    let network_token = new_token()?;
    let configure = Configure {
        unix_nanos: unix_nanos(),
        hostname: "holm".into(),
        network_token: network_token.clone(),
        root_certificates: guest.root_certificates.to_string(),
        registries: guest.registries.clone(),
        proxy: guest.proxy.clone(),
        hypervisor: guest.hypervisor.into(),
        image_digest: guest.image_digest.clone(),
    };
    let network = run_network(listener, network_token);
    let link = async {
        // The time in `Configure` is when it is sent, not when the machine was made.
        let link = Link::open(machine).await?;
        link.serve(Configure { unix_nanos: unix_nanos(), ..configure }, heard, orders).await
    };
    tokio::pin!(network);
    tokio::select! {
        ended = link => ended,
        never = &mut network => match never {},
    }
}

fn new_token() -> io::Result<Token> {
    let mut bytes = [0; Token::LENGTH];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(Token(bytes))
}

/// Lets the one stream with the right token speak to the gateway. Never returns: a guest whose network is gone
/// is still one that can be told to shut down.
async fn run_network(mut listener: Box<dyn Listener>, token: Token) -> Infallible {
    loop {
        let Ok(mut stream) = listener.accept().await else { break };
        if !opens_with(&mut stream, &token).await {
            warn!("a stream to the network port did not open with its token; it was closed");
            continue;
        }
        drop(listener);
        let gateway = Gateway::new(GatewayConfig::default());
        let ended = gateway.serve(stream).await;
        // What was dropped and why is all that a log can tell of packets.
        info!(?ended, stats = ?gateway.stats(), "the guest's network ended");
        break;
    }
    std::future::pending().await
}

async fn opens_with(stream: &mut Stream, token: &Token) -> bool {
    let mut bytes = [0; Token::LENGTH];
    let read = timeout(TOKEN_DEADLINE, stream.read_exact(&mut bytes)).await;
    // All bytes are compared whatever the first ones are, so that the time taken tells nothing.
    let difference = bytes.iter().zip(&token.0).fold(0, |all, (a, b)| all | (a ^ b));
    matches!(read, Ok(Ok(_))) && difference == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    async fn sent(bytes: &[u8]) -> bool {
        let (mut guest, host) = tokio::io::duplex(64);
        guest.write_all(bytes).await.unwrap();
        drop(guest);
        let mut host: Stream = Box::new(host);
        opens_with(&mut host, &Token([7; Token::LENGTH])).await
    }

    #[tokio::test]
    async fn only_the_whole_token_opens_a_stream() {
        assert!(sent(&[7; 32]).await);
        assert!(!sent(&[7; 31]).await, "cut short");
        assert!(!sent(&[[7; 31].as_slice(), &[8]].concat()).await, "wrong in its last byte");
    }

    #[test]
    fn no_two_tokens_are_alike() {
        assert_ne!(new_token().unwrap(), new_token().unwrap());
    }
}
