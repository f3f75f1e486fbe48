//! What comes from outside for containers: connections and sockets of published ports, handed to the gateway's
//! task over a bounded channel; and under whose address they appear inside.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use holm_api::network::{GATEWAY_V4, GATEWAY_V6, PREFIX_V4, PREFIX_V6};
use holm_api::services::Subnet;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Orders that wait for the gateway's task. Whoever has more waits itself.
const MOST_WAITING: usize = 64;
/// Ports tried for a client whose own is in use.
const MOST_TRIES: u16 = 4_096;
/// The first port that is made up for a client.
const FIRST_PORT: u16 = 1_024;

/// Who opened something, and with whom it goes. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner(pub(crate) u64);

/// What the gateway is told.
pub(crate) enum Order {
    /// A client has connected.
    Connection(Arrival),
    /// Datagrams that come on a socket.
    Datagrams {
        /// Bound; in tokio's hands.
        socket: UdpSocket,
        /// The container's.
        target: SocketAddr,
        /// Networks inside the machine.
        inside: Arc<[Subnet]>,
        /// Ends with it.
        owner: Owner,
    },
    /// The owner's container has ended.
    Close {
        /// Whose sockets go, and whose flows end soon.
        owner: Owner,
        /// Dropped when the sockets are closed.
        closed: oneshot::Sender<()>,
    },
}

/// A client of a published TCP port.
pub(crate) struct Arrival {
    /// Its connection.
    pub(crate) stream: TcpStream,
    /// Its address, as the container is to see it.
    pub(crate) source: SocketAddr,
    /// The container's.
    pub(crate) target: SocketAddr,
    /// Whose port it is.
    pub(crate) owner: Owner,
    /// Given back when the container has answered, or has not.
    pub(crate) place: OwnedSemaphorePermit,
}

/// The end that gives orders.
pub(crate) type Sender = mpsc::Sender<Order>;

/// The end that takes them: one session at a time.
#[derive(Clone)]
pub(crate) struct Inlet(Arc<Mutex<mpsc::Receiver<Order>>>);

impl Inlet {
    /// Nothing waits yet.
    pub(crate) fn new() -> (Sender, Self) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (sender, Self(Arc::new(Mutex::new(receiver))))
    }

    /// The next order. Not ready for ever once nobody can give any.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Order> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_recv(context) {
            Poll::Ready(Some(order)) => Poll::Ready(order),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

/// The address under which the container sees the client: its own, where an answer to that would come here; else
/// the gateway's. Not so the computer's loopback, and what stands for somebody else inside the machine.
pub(crate) fn source(client: SocketAddr, target: IpAddr, inside: &[Subnet]) -> SocketAddr {
    let address = client.ip();
    let own = [
        Subnet { address: GATEWAY_V4.into(), prefix: PREFIX_V4 },
        Subnet { address: GATEWAY_V6.into(), prefix: PREFIX_V6 },
    ];
    let taken = own.iter().chain(inside).any(|subnet| subnet.contains(address));
    let shown = match (address, target) {
        (IpAddr::V4(v4), IpAddr::V4(_)) => {
            (super::route::is_unicast_v4(v4) && !v4.is_link_local() && !taken).then_some(address)
        }
        (IpAddr::V6(v6), IpAddr::V6(_)) => {
            let routed = !v6.is_unspecified() && !v6.is_loopback() && !v6.is_multicast();
            (routed && !v6.is_unicast_link_local() && !taken).then_some(address)
        }
        _ => None,
    };
    let gateway = if target.is_ipv4() { GATEWAY_V4.into() } else { GATEWAY_V6.into() };
    SocketAddr::new(shown.unwrap_or(gateway), client.port())
}

/// `wish`, or the same address with a port under which `table` has nothing yet. `None`: all that were tried are
/// in use.
pub(super) fn free<K: Eq + Hash, V>(
    table: &HashMap<K, V>,
    wish: SocketAddr,
    next: &mut u16,
    key: impl Fn(SocketAddr) -> K,
) -> Option<SocketAddr> {
    if wish.port() != 0 && !table.contains_key(&key(wish)) {
        return Some(wish);
    }
    (0..MOST_TRIES).find_map(|_| {
        *next = next.checked_add(1).unwrap_or(FIRST_PORT).max(FIRST_PORT);
        let candidate = SocketAddr::new(wish.ip(), *next);
        (!table.contains_key(&key(candidate))).then_some(candidate)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(client: &str, target: &str) -> String {
        let inside = [Subnet { address: "172.17.0.0".parse().unwrap(), prefix: 16 }];
        source(client.parse().unwrap(), target.parse().unwrap(), &inside).to_string()
    }

    #[test]
    fn a_client_is_seen_under_its_own_address_where_an_answer_finds_the_way_back() {
        assert_eq!(seen("192.168.1.7:4000", "172.17.0.2"), "192.168.1.7:4000");
        assert_eq!(seen("[2001:db8::7]:4000", "fd00::2"), "[2001:db8::7]:4000");
    }

    #[test]
    fn the_gateway_stands_for_everybody_else() {
        for client in
            ["127.0.0.1:4000", "172.17.9.9:4000", "192.168.65.254:4000", "169.254.1.1:4000", "[::1]:4000"]
        {
            assert_eq!(seen(client, "172.17.0.2"), "192.168.65.1:4000", "{client}");
        }
        for client in ["[::1]:4000", "[fe80::1]:4000", "1.2.3.4:4000"] {
            assert_eq!(seen(client, "fd00::2"), "[fdc4:f303:9324::1]:4000", "{client}");
        }
    }

    #[test]
    fn a_port_that_is_in_use_is_replaced() {
        let wish: SocketAddr = "192.168.65.1:4000".parse().unwrap();
        let mut table = HashMap::new();
        let mut next = u16::MAX - 1;
        for expected in [4000, u16::MAX, FIRST_PORT, FIRST_PORT + 1] {
            let free = free(&table, wish, &mut next, |address| address).unwrap();
            assert_eq!(free.port(), expected);
            table.insert(free, ());
        }
    }
}
