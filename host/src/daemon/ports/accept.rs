//! Takes the clients of one published TCP port and hands them to the gateway.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_api::services::Subnet;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::daemon::net::inlet::{self, Arrival, Order, Owner, Sender};
use crate::daemon::net::reset;

/// Clients of one port whose container has not answered. The others wait in the kernel: a container that does not
/// answer must not take the places of those that do.
const MOST_UNANSWERED: usize = 256;
/// How long the gateway may take for a client; then it has no guest, and the client is reset.
const HAND_OVER: Duration = Duration::from_secs(10);
/// After an accept that failed: the process has no more descriptors, and will have one when a client goes.
const PAUSE: Duration = Duration::from_millis(50);
/// Silence after which the kernel asks a client whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(300);

/// Serves until it is dropped.
pub(super) async fn serve(
    listener: TcpListener,
    target: SocketAddr,
    inside: Arc<[Subnet]>,
    owner: Owner,
    gateway: Sender,
) {
    let places = Arc::new(Semaphore::new(MOST_UNANSWERED));
    let mut was_well = true;
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if was_well {
                    tracing::warn!(%target, %error, "a published port takes no clients for now");
                }
                was_well = false;
                sleep(PAUSE).await;
                continue;
            }
        };
        was_well = true;
        prepare(&stream);
        let source = inlet::source(client, target.ip(), &inside);
        match timeout(HAND_OVER, gateway.reserve()).await {
            Ok(Ok(room)) => room.send(Order::Connection(Arrival { stream, source, target, owner, place })),
            _ => reset(&stream),
        }
    }
}

/// None of it is worth a client: it is only slower, or noticed later, where it fails.
fn prepare(stream: &TcpStream) {
    // The container's own Nagle algorithm has already decided what is worth a packet.
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
}
