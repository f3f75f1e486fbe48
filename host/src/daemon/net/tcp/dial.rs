//! The host's own connect for a guest's SYN. No buffer exists before it has succeeded.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::flow::Far;

/// Longer than any client waits for a local service, shorter than the host's own limit: two minutes of a slot
/// for each address that does not answer would let a few of them fill the table. The guest's next SYN starts
/// over, so a program in it may wait as long as it likes.
pub(super) const LONGEST: Duration = Duration::from_secs(30);
/// Silence after which the host's kernel asks the far side whether it is still there: connections through a
/// VPN or a sleeping computer die without a word.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// A connect under way.
pub(super) type Dial = Pin<Box<dyn Future<Output = io::Result<Far>> + Send>>;

/// Connects to the first of `candidates` that does not refuse.
pub(super) fn dial(candidates: Vec<SocketAddr>) -> Dial {
    Box::pin(async move {
        let mut first_refusal = None;
        for address in candidates {
            match TcpStream::connect(address).await {
                Ok(stream) => return ready(stream),
                Err(error) => {
                    first_refusal.get_or_insert(error);
                }
            }
        }
        Err(first_refusal.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into()))
    })
}

fn ready(stream: TcpStream) -> io::Result<Far> {
    // The guest's own Nagle algorithm has already decided what is worth a packet.
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    Ok(Far::Host(stream))
}
