//! Published UDP ports: a socket of the computer's each, and for each client that has spoken to it the address
//! under which the container sees that client.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use holm_api::services::Subnet;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::daemon::net::core::Core;
use crate::daemon::net::inlet::{self, Owner};
use crate::daemon::net::os::{Caller, addressed};
use crate::daemon::net::ready::{FlowWaker, Id};
use crate::daemon::net::stats::count;
use crate::daemon::net::timers::Timer;

/// How long a client is remembered to whom the container has answered.
const IDLE: Duration = Duration::from_secs(90);
/// And one to whom it has not: as many as anybody likes can be made up.
const IDLE_UNANSWERED: Duration = Duration::from_secs(15);
/// Between two looks at whose time is over.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// Clients of one port. A new one takes the place of the one that was quiet longest.
const MOST_CLIENTS: usize = 1_024;
/// Datagrams of one port before others have their turn.
const TURN: usize = 64;

/// Both ends of what goes on between a client and a container, as the container names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Talk {
    guest: SocketAddr,
    far: SocketAddr,
}

struct Client {
    far: SocketAddr,
    until: Instant,
}

struct Port {
    socket: UdpSocket,
    target: SocketAddr,
    inside: Arc<[Subnet]>,
    owner: Owner,
    clients: HashMap<Caller, Client>,
    flow_waker: Arc<FlowWaker>,
    waker: Waker,
    timer: Timer,
}

/// All of them.
#[derive(Default)]
pub(super) struct Published {
    ports: HashMap<u64, Port>,
    /// Port and client of every talk.
    talks: HashMap<Talk, (u64, Caller)>,
    next_port: u64,
    next_far: u16,
}

impl Published {
    /// Serves a socket from now on.
    pub(super) fn open(
        &mut self,
        socket: UdpSocket,
        target: SocketAddr,
        inside: Arc<[Subnet]>,
        owner: Owner,
        core: &Core,
    ) {
        if let Ok(local) = socket.local_addr()
            && local.ip().is_unspecified()
            && let Err(error) = addressed::enable(&socket, local.is_ipv4())
        {
            tracing::warn!(%local, %error, "answers may come from another address than was asked");
        }
        self.next_port += 1;
        let flow_waker = core.ready.waker(Id::Published(self.next_port));
        flow_waker.requeue();
        let waker = Waker::from(Arc::clone(&flow_waker));
        let (clients, timer) = (HashMap::new(), Timer::default());
        let port = Port { socket, target, inside, owner, clients, flow_waker, waker, timer };
        self.ports.insert(self.next_port, port);
    }

    /// Closes the owner's sockets.
    pub(super) fn close(&mut self, owner: Owner, core: &mut Core) {
        let (ports, talks) = (&mut self.ports, &mut self.talks);
        ports.retain(|_, port| {
            let stays = port.owner != owner;
            if !stays {
                core.timers.disarm(&mut port.timer);
                for client in port.clients.values() {
                    talks.remove(&Talk { guest: port.target, far: client.far });
                }
            }
            stays
        });
    }

    /// Passes a container's datagram to the client that it answers. `false`: it answers none.
    pub(super) fn answer(&mut self, guest: SocketAddr, far: SocketAddr, payload: &[u8], core: &Core) -> bool {
        let Some((port, caller)) = self.talks.get(&Talk { guest, far }) else { return false };
        let Some(port) = self.ports.get_mut(port) else { return false };
        if let Some(client) = port.clients.get_mut(caller) {
            client.until = Instant::now() + IDLE;
        }
        // What the socket has no room for is lost, as on any network.
        if addressed::send(&port.socket, caller, payload).is_err() {
            count(&core.counters.over_limit);
        }
        true
    }

    /// Carries what has come on a socket.
    pub(super) fn on_ready(&mut self, id: u64, scratch: &mut [u8], core: &mut Core) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.flow_waker.taken();
        for _ in 0..TURN {
            if !core.downlink.has_room() {
                break;
            }
            match addressed::poll_receive(&port.socket, &mut Context::from_waker(&port.waker), scratch) {
                Poll::Pending => return,
                Poll::Ready(Ok((length, caller))) => {
                    let Some(far) = port.meet(id, caller, &mut self.talks, &mut self.next_far) else {
                        count(&core.counters.over_limit);
                        continue;
                    };
                    if port.timer.is_idle() {
                        let next = Instant::now() + FORGET_EVERY;
                        core.timers.arm(&mut port.timer, Id::Published(id), next);
                    }
                    core.downlink.udp(far, port.target, &scratch[..length]);
                }
                // An earlier answer's client is gone.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Poll::Ready(Err(error)) => {
                    tracing::debug!(target = %port.target, %error, "a published UDP port");
                }
            }
        }
        port.flow_waker.requeue();
    }

    /// Forgets clients whose time is over.
    pub(super) fn on_timer(&mut self, id: u64, core: &mut Core) {
        let Some(port) = self.ports.get_mut(&id) else { return };
        port.timer.fired();
        let now = Instant::now();
        port.clients.retain(|_, client| {
            let stays = client.until > now;
            if !stays {
                self.talks.remove(&Talk { guest: port.target, far: client.far });
            }
            stays
        });
        if !port.clients.is_empty() {
            core.timers.arm(&mut port.timer, Id::Published(id), now + FORGET_EVERY);
        }
    }
}

impl Port {
    /// The address under which the container sees `caller`.
    fn meet(
        &mut self,
        id: u64,
        caller: Caller,
        talks: &mut HashMap<Talk, (u64, Caller)>,
        next_far: &mut u16,
    ) -> Option<SocketAddr> {
        let now = Instant::now();
        if let Some(known) = self.clients.get_mut(&caller) {
            known.until = known.until.max(now + IDLE_UNANSWERED);
            return Some(known.far);
        }
        if self.clients.len() >= MOST_CLIENTS
            && let Some(quiet) = self.clients.iter().min_by_key(|(_, client)| client.until).map(|(a, _)| *a)
            && let Some(quiet) = self.clients.remove(&quiet)
        {
            talks.remove(&Talk { guest: self.target, far: quiet.far });
        }
        let guest = self.target;
        let wish = inlet::source(caller.client, guest.ip(), &self.inside);
        let far = inlet::free(talks, wish, next_far, |far| Talk { guest, far })?;
        talks.insert(Talk { guest, far }, (id, caller));
        self.clients.insert(caller, Client { far, until: now + IDLE_UNANSWERED });
        Some(far)
    }
}
