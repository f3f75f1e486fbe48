//! ICMP echo. The gateway and the host answer for themselves; everybody else is asked through a ping socket of
//! the host's, one for each guest, far address and identifier.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use smoltcp::wire::IPV4_HEADER_LEN;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::core::Core;
use super::icmp::{self, Echo, HEADER, Kind, Quote, Unreachable, parse_echo, write_echo};
use super::os::echo;
use super::packet::IpPacket;
use super::ready::{FlowWaker, Id};
use super::route::{Route, route};
use super::stats::{count, set};
use super::timers::Timer;

/// How long a reply is waited for after the last request.
const IDLE: Duration = Duration::from_secs(20);
/// Replies of one socket before others have their turn.
const TURN: usize = 16;

/// Who pings whom, as the guest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PingKey {
    guest: IpAddr,
    far: IpAddr,
    ident: u16,
}

struct Entry {
    socket: UdpSocket,
    /// The identifier on the wire; `None`: the kernel's business.
    ident: Option<u16>,
    /// The last request, for the error that may answer it.
    last: [u8; HEADER],
    until: Instant,
    flow_waker: Arc<FlowWaker>,
    waker: Waker,
    timer: Timer,
}

/// All ping sockets.
pub(super) struct Ping {
    entries: HashMap<PingKey, Entry>,
    most: usize,
    next_ident: u16,
    scratch: Box<[u8]>,
}

impl Ping {
    /// At most `most` at once.
    pub(super) fn new(most: usize) -> Self {
        // Where the wire has our identifiers, those of two daemons should not meet.
        let next_ident = std::process::id() as u16;
        Self { entries: HashMap::new(), most, next_ident, scratch: vec![0; usize::from(u16::MAX)].into() }
    }

    /// Takes an ICMP message from the guest. All but echo requests end here: what the guest tells of its own
    /// unreachable ports, nobody outside has a socket to hear.
    pub(super) fn on_packet(&mut self, packet: &IpPacket<'_>, core: &mut Core) {
        let v4 = packet.source.is_ipv4();
        let Some(echo) = parse_echo(packet.payload, v4, Kind::Request) else {
            return count(&core.counters.refused);
        };
        let key = PingKey { guest: packet.source, far: packet.destination, ident: echo.ident };
        match route(key.far) {
            Route::Gateway | Route::Host => {
                if !icmp::send_reply(&mut core.downlink, key.far, key.guest, echo) {
                    count(&core.counters.over_limit);
                }
            }
            Route::Nobody => fail(&key, packet.payload, Unreachable::Host, core),
            Route::Forbidden => count(&core.counters.refused),
            Route::Outside(_) => {
                if let Err(error) = self.ask(key, echo, packet.payload, core) {
                    match icmp::unreachable(&error) {
                        Some(why) => fail(&key, packet.payload, why, core),
                        None => count(&core.counters.over_limit),
                    }
                }
            }
        }
    }

    fn ask(&mut self, key: PingKey, echo: Echo<'_>, request: &[u8], core: &mut Core) -> io::Result<()> {
        if !self.entries.contains_key(&key) {
            if self.entries.len() >= self.most {
                return Err(io::ErrorKind::QuotaExceeded.into());
            }
            self.next_ident = self.next_ident.wrapping_add(1);
            let entry = Entry::open(key, self.next_ident, core)?;
            self.entries.insert(key, entry);
            set(&core.counters.ping_flows, self.entries.len());
        }
        let Some(entry) = self.entries.get_mut(&key) else { return Ok(()) };
        entry.until = Instant::now() + IDLE;
        core.timers.arm(&mut entry.timer, Id::Ping(key), entry.until);
        if let Some(start) = request.first_chunk() {
            entry.last = *start;
        }
        let message = &mut self.scratch[..HEADER + echo.data.len()];
        let echo = Echo { ident: entry.ident.unwrap_or(echo.ident), ..echo };
        // ICMPv6's checksum covers the host's own address, which its kernel knows and fills in.
        write_echo(message, Kind::Request, echo, (key.far, key.far));
        match SockRef::from(&entry.socket).send(message) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Carries replies to the guest.
    pub(super) fn on_ready(&mut self, key: PingKey, core: &mut Core) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.flow_waker.taken();
        for _ in 0..TURN {
            if !core.downlink.has_room() {
                return entry.flow_waker.requeue();
            }
            let mut target = ReadBuf::new(&mut self.scratch);
            match entry.socket.poll_recv(&mut Context::from_waker(&entry.waker), &mut target) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {
                    let message = without_ip_header(target.filled(), key.far.is_ipv4());
                    if let Some(reply) = parse_echo(message, key.far.is_ipv4(), Kind::Reply)
                        && entry.ident.is_none_or(|ident| ident == reply.ident)
                    {
                        let reply = Echo { ident: key.ident, ..reply };
                        icmp::send_reply(&mut core.downlink, key.far, key.guest, reply);
                    }
                }
                Poll::Ready(Err(error)) => {
                    if let Some(why) = icmp::unreachable(&error) {
                        fail(&key, &entry.last, why, core);
                    }
                }
            }
        }
        entry.flow_waker.requeue();
    }

    /// Closes a socket on which nothing is expected any more.
    pub(super) fn on_timer(&mut self, key: PingKey, core: &mut Core) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.timer.fired();
        if entry.until > Instant::now() {
            core.timers.arm(&mut entry.timer, Id::Ping(key), entry.until);
        } else {
            self.entries.remove(&key);
            set(&core.counters.ping_flows, self.entries.len());
        }
    }
}

impl Entry {
    fn open(key: PingKey, ident: u16, core: &Core) -> io::Result<Self> {
        let (socket, ident) = echo::open(key.far, ident)?;
        let flow_waker = core.ready.waker(Id::Ping(key));
        let entry = Self {
            socket: UdpSocket::from_std(socket)?,
            ident,
            last: [0; HEADER],
            until: Instant::now(),
            waker: Waker::from(Arc::clone(&flow_waker)),
            flow_waker,
            timer: Timer::default(),
        };
        entry.flow_waker.requeue();
        Ok(entry)
    }
}

/// Tells the guest that the request whose first bytes these are has failed.
fn fail(key: &PingKey, request: &[u8], why: Unreachable, core: &mut Core) {
    let protocol = icmp::protocol(key.guest);
    if let Some(start) = request.first_chunk() {
        let quote = Quote { source: key.guest, destination: key.far, protocol, start: *start };
        icmp::send_unreachable(&mut core.downlink, &quote, why);
    }
}

/// Raw IPv4 sockets, and all of macOS's, put the IP header first. No ICMP message begins as one does.
fn without_ip_header(bytes: &[u8], v4: bool) -> &[u8] {
    match bytes.first() {
        Some(first) if v4 && first >> 4 == 4 => {
            let header = usize::from(first & 0x0f) * 4;
            bytes.get(header.max(IPV4_HEADER_LEN)..).unwrap_or_default()
        }
        _ => bytes,
    }
}
