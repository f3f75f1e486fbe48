//! Ports on which programs of the machine's own network listen (`--network host`): the computer's loopback has
//! them under the same numbers. One that another program has is logged once, and tried again with each list.
//!
//! Every change is made between two awaits: a request may be dropped at any of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{MutexGuard, PoisonError};

use holm_api::services::{MOST_SHOWN, Protocol, ShownPort};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::bind::Socket;
use super::{CLOSE_DEADLINE, Ports, PortsError, accept, bind, hint, target_of, words};
use crate::daemon::net::inlet::{Order, Owner};

/// Where programs of the computer look for them. Nobody else is to reach them.
const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A port of the computer's.
type Place = (Protocol, SocketAddr);

/// All that are to be shown.
pub(super) type Shown = HashMap<Place, Entry>;

/// One of them.
pub(super) enum Entry {
    Open {
        target: SocketAddr,
        owner: Owner,
        /// `None`: a socket for datagrams, which the gateway has.
        listener: Option<AbortOnDropHandle<()>>,
    },
    /// The computer does not let us have it, and that was said.
    Refused,
}

impl Ports {
    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has exactly these on the loopback, but for those that are taken there. Needs a tokio runtime.
    pub(in crate::daemon) async fn show(&self, ports: &[ShownPort]) -> Result<(), PortsError> {
        if ports.len() > MOST_SHOWN {
            return Err(PortsError::TooManyShown);
        }
        let mut wanted = HashMap::new();
        for port in ports {
            for address in LOOPBACKS {
                let place = (port.protocol, SocketAddr::new(address, port.port));
                let target = target_of(&port.target, address);
                wanted.extend(target.map(|target| (place, SocketAddr::new(target, port.port))));
            }
        }
        let stale: Vec<_> = {
            let mut shown = self.shown();
            shown.retain(|place, entry| wanted.contains_key(place) || matches!(entry, Entry::Open { .. }));
            let is_stale = |place, entry: &Entry| match entry {
                Entry::Open { target, .. } => wanted.get(place) != Some(target),
                Entry::Refused => false,
            };
            shown.iter().filter(|(place, entry)| is_stale(place, entry)).map(|(place, _)| *place).collect()
        };
        for place in stale {
            self.hide(&place).await;
        }
        for (place, target) in wanted {
            // Without a guest it takes nothing, and nobody waits for these ports.
            let Ok(Ok(room)) = timeout(CLOSE_DEADLINE, self.gateway.reserve()).await else { return Ok(()) };
            self.show_one(place, target, room);
        }
        Ok(())
    }

    /// Closes one. Returns when its number is free.
    async fn hide(&self, place: &Place) {
        // Before it is forgotten: the next list finds it again where this ends here.
        let Ok(Ok(room)) = timeout(CLOSE_DEADLINE, self.gateway.reserve()).await else { return };
        let Some(Entry::Open { owner, listener, .. }) = self.shown().remove(place) else { return };
        let (told, gone) = oneshot::channel();
        room.send(Order::Close { owner, closed: told });
        if let Some(listener) = listener {
            listener.abort();
            // Its socket goes with it.
            let _ = listener.await;
        }
        if timeout(CLOSE_DEADLINE, gone).await.is_err() {
            warn!("the gateway does not close a port of the machine's own network");
        }
    }

    /// Opens one, unless it is open. `room` is for its socket, where it takes datagrams.
    fn show_one(&self, place: Place, target: SocketAddr, room: mpsc::Permit<'_, Order>) {
        let (protocol, address) = place;
        let mut shown = self.shown();
        let was_refused = match shown.get(&place) {
            Some(Entry::Open { .. }) => return,
            Some(Entry::Refused) => true,
            None => false,
        };
        let owner = self.new_owner();
        let entry = match bind::bind(protocol, address) {
            Ok(Socket::Tcp(listener)) => {
                let accepting = accept::serve(listener, target, [].into(), owner, self.gateway.clone());
                let listener = AbortOnDropHandle::new(tokio::spawn(accepting));
                Entry::Open { target, owner, listener: Some(listener) }
            }
            Ok(Socket::Udp(socket)) => {
                room.send(Order::Datagrams { socket, target, inside: [].into(), owner });
                Entry::Open { target, owner, listener: None }
            }
            Err(cause) => {
                // A computer without IPv6 misses nothing.
                if !was_refused && !bind::is_missing_family(&cause) {
                    let (why, hint) = (words(&cause), hint(&cause, address.port()));
                    warn!(
                        "{address}/{protocol} does not lead to the program that listens on it in the machine's own \
                         network: {why}{hint}"
                    );
                }
                Entry::Refused
            }
        };
        shown.insert(place, entry);
    }
}
