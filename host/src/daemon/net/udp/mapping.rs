//! One guest address and port, the host socket that stands for it, and whom it has spoken to.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smoltcp::wire::IpProtocol;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::daemon::net::core::Core;
use crate::daemon::net::dns;
use crate::daemon::net::icmp::{self, Quote};
use crate::daemon::net::os::errors;
use crate::daemon::net::ready::{FlowWaker, Id};
use crate::daemon::net::timers::Timer;

/// How long an address that the guest has spoken to may answer. RFC 4787 asks for two minutes at least of
/// public networks; QUIC and WebRTC send every 30 seconds, and we run out of sockets sooner.
const IDLE: Duration = Duration::from_secs(90);
/// The same for DNS servers: a resolver takes a new port for every question.
const IDLE_DNS: Duration = Duration::from_secs(10);
/// Between two looks at whose time is over. Not one timer a peer: a game server's mapping has thousands.
pub(super) const FORGET_EVERY: Duration = IDLE_DNS;
/// Datagrams of one mapping before others have their turn.
const TURN: usize = 64;

/// An address that the guest has spoken to.
struct Peer {
    /// What the guest calls it.
    far: SocketAddr,
    until: Instant,
}

/// Whether everything was received.
pub(super) enum Served {
    All,
    Some,
}

pub(super) struct Mapping {
    guest: SocketAddr,
    socket: UdpSocket,
    peers: HashMap<SocketAddr, Peer>,
    used: bool,
    flow_waker: Arc<FlowWaker>,
    waker: Waker,
    pub(super) timer: Timer,
}

impl Mapping {
    /// Opens the host socket, on a port of the host's choice.
    pub(super) fn open(guest: SocketAddr, core: &Core) -> io::Result<Self> {
        let any: IpAddr =
            if guest.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.set_nonblocking(true)?;
        errors::enable(&socket, guest.is_ipv4())?;
        let flow_waker = core.ready.waker(Id::Udp(guest));
        Ok(Self {
            guest,
            socket: UdpSocket::from_std(socket)?,
            peers: HashMap::new(),
            used: true,
            waker: Waker::from(Arc::clone(&flow_waker)),
            flow_waker,
            timer: Timer::default(),
        })
    }

    /// Has the socket polled a first time.
    pub(super) fn start(&self) {
        self.flow_waker.requeue();
    }

    /// Has the socket polled again.
    pub(super) fn requeue(&self) {
        self.flow_waker.requeue();
    }

    /// Whether `target` is already among those who may answer.
    pub(super) fn knows(&self, target: SocketAddr) -> bool {
        self.peers.contains_key(&target)
    }

    /// Lets `target` answer from now on, in the name of `far`. `true`: it is new.
    pub(super) fn meet(&mut self, target: SocketAddr, far: SocketAddr, now: Instant) -> bool {
        self.used = true;
        let idle = if far.port() == dns::PORT { IDLE_DNS } else { IDLE };
        self.peers.insert(target, Peer { far, until: now + idle }).is_none()
    }

    /// Forgets whose time is over, and says how many those were.
    pub(super) fn forget(&mut self, now: Instant) -> usize {
        let before = self.peers.len();
        self.peers.retain(|_, peer| peer.until > now);
        before - self.peers.len()
    }

    /// How many may answer.
    pub(super) fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Whether nobody may.
    pub(super) fn is_idle(&self) -> bool {
        self.peers.is_empty()
    }

    /// Whether it was used since this was last asked.
    pub(super) fn take_used(&mut self) -> bool {
        std::mem::take(&mut self.used)
    }

    /// Sends a datagram. One that the host's socket has no room for is lost, as on any network.
    pub(super) fn send(&mut self, payload: &[u8], target: SocketAddr, core: &mut Core) -> io::Result<()> {
        let target = target.into();
        let socket = SockRef::from(&self.socket);
        let result = match socket.send_to(payload, &target) {
            // The error may be an earlier datagram's, and this one then was not sent.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                if self.pass_errors_on(core) == 0 {
                    return Err(error);
                }
                SockRef::from(&self.socket).send_to(payload, &target)
            }
            other => other,
        };
        match result {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Carries datagrams from the host to the guest, while there is room.
    pub(super) fn receive(&mut self, scratch: &mut [u8], core: &mut Core) -> Served {
        self.flow_waker.taken();
        for _ in 0..TURN {
            if !core.downlink.has_room() {
                return Served::Some;
            }
            let mut target = ReadBuf::new(scratch);
            let mut context = Context::from_waker(&self.waker);
            match self.socket.poll_recv_from(&mut context, &mut target) {
                Poll::Pending => {
                    self.pass_errors_on(core);
                    return Served::All;
                }
                Poll::Ready(Ok(from)) => {
                    if let Some(peer) = self.peers.get_mut(&from) {
                        self.used = true;
                        peer.until = peer.until.max(Instant::now() + IDLE_DNS);
                        core.downlink.udp(peer.far, self.guest, target.filled());
                    }
                }
                Poll::Ready(Err(_)) => {
                    self.pass_errors_on(core);
                }
            }
        }
        Served::Some
    }

    /// Tells the guest which of its datagrams came back, where the host's system says so. How many did.
    fn pass_errors_on(&self, core: &mut Core) -> usize {
        let errors = errors::take(&self.socket);
        for (target, error) in &errors {
            if let Some(peer) = self.peers.get(target)
                && let Some(why) = icmp::unreachable(error)
            {
                let quote = Quote::new(self.guest, peer.far, IpProtocol::Udp, 0);
                icmp::send_unreachable(&mut core.downlink, &quote, why);
            }
        }
        errors.len()
    }
}
