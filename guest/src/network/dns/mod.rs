//! The name server that each container on a user-defined network has at 127.0.0.11. It listens in the container's own
//! namespace, on a port of its own that rules lead port 53 to, so that a container may be a name server itself.
//!
//! ```text
//!   container ── 127.0.0.11:53 ─ (rules) ─► NameServer ── directory: names, aliases, links, addresses
//!                                                └──────── upstream: the gateway, or the container's own choice
//! ```

mod answer;
mod directory;
mod forward;

pub use directory::{Directory, Presence};
pub use forward::Upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::proto::op::ResponseCode;
use holm_api::ContainerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::{Namespace, NetworkError, netfilter};
use crate::network::netlink::failed;
use answer::{Asker, Outcome, Transport, answer, refusal};

/// Where every container finds its name server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const PORT: u16 = 53;
/// Questions of one container that are passed on at once; more are refused. moby has 1,024 for all.
const MOST_QUESTIONS: usize = 256;
/// Connections of one container; more wait.
const MOST_CONNECTIONS: usize = 32;
/// A connection may be quiet for so long.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of the largest datagram.
const LONGEST: usize = 65_535;

/// A running name server. It ends when it is dropped.
#[derive(Debug)]
pub struct NameServer {
    _tasks: [AbortOnDropHandle<()>; 2],
}

/// Whom it serves, and how.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who asks.
    pub container: ContainerId,
    /// Who knows our own names.
    pub directory: Arc<Directory>,
    /// Who knows the others.
    pub upstream: Upstream,
    /// Names without a dot are never passed on.
    pub short_names_are_ours: bool,
}

struct Server {
    asker: Asker,
    directory: Arc<Directory>,
    upstream: Upstream,
    places: Semaphore,
}

impl NameServer {
    /// Listens in the namespace, whose `lo` is up. An earlier one's rules are replaced.
    pub async fn start(namespace: &Namespace, service: Service) -> Result<Self, NetworkError> {
        let (udp, tcp) = listen(namespace).await.map_err(failed("open a container's name server"))?;
        let server = Arc::new(Server {
            asker: Asker { container: service.container, short_names_are_ours: service.short_names_are_ours },
            directory: service.directory,
            upstream: service.upstream,
            places: Semaphore::new(MOST_QUESTIONS),
        });
        let tasks =
            [tokio::spawn(datagrams(server.clone(), Arc::new(udp))), tokio::spawn(connections(server, tcp))];
        Ok(Self { _tasks: tasks.map(AbortOnDropHandle::new) })
    }
}

/// On ports of its own with rules that lead there, or, where the kernel has no such rules, on port 53 itself.
async fn listen(namespace: &Namespace) -> io::Result<(UdpSocket, TcpListener)> {
    let (udp, tcp) = open(namespace, 0).await?;
    let led = netfilter::redirect_dns(namespace, SERVER, udp.local_addr()?.port(), tcp.local_addr()?.port());
    match led.await {
        Ok(()) => Ok((udp, tcp)),
        Err(error) => {
            tracing::warn!("a container cannot be a name server itself: {error}");
            drop((udp, tcp));
            open(namespace, PORT).await
        }
    }
}

async fn open(namespace: &Namespace, port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let sockets = namespace.enter(move || {
        let udp = std::net::UdpSocket::bind((SERVER, port))?;
        let tcp = std::net::TcpListener::bind((SERVER, port))?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((udp, tcp))
    });
    let (udp, tcp) = sockets.await?;
    Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
}

async fn datagrams(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut asked = JoinSet::new();
    let mut message = vec![0; LONGEST];
    loop {
        // Those that are answered make room.
        while asked.try_join_next().is_some() {}
        // What went wrong belongs to a datagram that was sent before.
        let Ok((length, client)) = socket.recv_from(&mut message).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let message = &message[..length];
        match answer(&server.directory, &server.asker, message, Transport::Udp) {
            Outcome::Answer(bytes) => send(&socket, &bytes, client).await,
            Outcome::Ignore => {}
            Outcome::Forward if asked.len() < MOST_QUESTIONS => {
                let (server, socket, message) = (server.clone(), socket.clone(), message.to_vec());
                asked.spawn(async move {
                    if let Some(bytes) = server.forward(&message, Transport::Udp).await {
                        send(&socket, &bytes, client).await;
                    }
                });
            }
            Outcome::Forward => {
                if let Some(bytes) = refusal(message, ResponseCode::Refused) {
                    send(&socket, &bytes, client).await;
                }
            }
        }
    }
}

/// A client that cannot be answered asks again.
async fn send(socket: &UdpSocket, bytes: &[u8], client: SocketAddr) {
    let _ = socket.send_to(bytes, client).await;
}

async fn connections(server: Arc<Server>, listener: TcpListener) {
    let mut open = JoinSet::new();
    loop {
        if open.len() >= MOST_CONNECTIONS {
            open.join_next().await;
        }
        while open.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                open.spawn(connection(server.clone(), stream));
            }
            // Out of descriptors, most likely: until one is free nobody can be served.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Question after question, until the client has no more.
async fn connection(server: Arc<Server>, mut stream: TcpStream) {
    while let Ok(Ok(message)) = timeout(IDLE, read(&mut stream)).await {
        let bytes = match answer(&server.directory, &server.asker, &message, Transport::Tcp) {
            Outcome::Answer(bytes) => Some(bytes),
            Outcome::Forward => server.forward(&message, Transport::Tcp).await,
            Outcome::Ignore => None,
        };
        let Some(length) = bytes.as_ref().and_then(|bytes| u16::try_from(bytes.len()).ok()) else { return };
        let framed = [length.to_be_bytes().as_slice(), bytes.as_deref().unwrap_or_default()].concat();
        if !matches!(timeout(IDLE, stream.write_all(&framed)).await, Ok(Ok(()))) {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

impl Server {
    /// What others say; SERVFAIL where they say nothing.
    async fn forward(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_place) = self.places.try_acquire() else {
            return refusal(message, ResponseCode::Refused);
        };
        let answer = self.upstream.ask(message, transport).await;
        answer.or_else(|| refusal(message, ResponseCode::ServFail))
    }
}
