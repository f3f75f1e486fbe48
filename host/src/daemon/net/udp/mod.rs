//! UDP: one host socket for each address and port of the guest's, whatever it talks to, so that protocols that
//! tell third parties their own address work (endpoint-independent mapping, RFC 4787). Datagrams come back
//! only from addresses that the guest has spoken to lately.

mod mapping;
mod published;

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};

use holm_api::services::Subnet;
use smoltcp::wire::{IpProtocol, UdpPacket};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::mapping::{Mapping, Served};
use self::published::Published;
use super::core::Core;
use super::dns::{self, Dns, Transport};
use super::icmp::{self, Quote, Unreachable};
use super::inlet::Owner;
use super::packet::IpPacket;
use super::ready::Id;
use super::route::{Route, route};
use super::shares::Shares;
use super::stats::{count, set};

/// Questions that may wait for the DNS server at once; more are dropped.
const MOST_LOOKUPS: usize = 512;
/// Addresses that all mappings together may have spoken to lately.
const MOST_PEERS: usize = 65_536;
/// Mappings looked at to find one that is not in use, when a new one needs its place.
const LOOKED_AT: usize = 8;

/// A question's answer, and between whom.
struct Answer {
    client: SocketAddr,
    server: SocketAddr,
    message: Option<Vec<u8>>,
}

/// All UDP flows.
pub(super) struct Udp {
    mappings: HashMap<SocketAddr, Mapping>,
    published: Published,
    /// Every mapping once: the next to be given up first.
    clock: VecDeque<SocketAddr>,
    most: usize,
    shares: Shares,
    peers: usize,
    lookups: JoinSet<Answer>,
    dns: Dns,
    scratch: Box<[u8]>,
}

impl Udp {
    /// At most `most` host sockets.
    pub(super) fn new(most: usize, dns: Dns) -> Self {
        Self {
            mappings: HashMap::new(),
            published: Published::default(),
            clock: VecDeque::new(),
            most,
            shares: Shares::of(most),
            peers: 0,
            lookups: JoinSet::new(),
            dns,
            scratch: vec![0; usize::from(u16::MAX)].into(),
        }
    }

    /// Takes a datagram from the guest.
    pub(super) fn on_packet(&mut self, packet: &IpPacket<'_>, core: &mut Core) {
        let Ok(datagram) = UdpPacket::new_checked(packet.payload) else {
            return count(&core.counters.malformed);
        };
        if datagram.src_port() == 0 || datagram.dst_port() == 0 {
            return count(&core.counters.malformed);
        }
        let guest = SocketAddr::new(packet.source, datagram.src_port());
        let far = SocketAddr::new(packet.destination, datagram.dst_port());
        let payload = datagram.payload();
        if self.published.answer(guest, far, payload, core) {
            return;
        }
        match route(far.ip()) {
            Route::Gateway if far.port() == dns::PORT => self.ask(guest, far, payload, core),
            Route::Gateway => unreachable(guest, far, Unreachable::Port, core),
            Route::Nobody => unreachable(guest, far, Unreachable::Host, core),
            // No answer: most of it is multicast, to which nobody may answer with an error.
            Route::Forbidden => count(&core.counters.refused),
            Route::Outside(_) => self.send(guest, far, far, payload, core),
            Route::Host => {
                let loopback: IpAddr =
                    if far.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
                self.send(guest, far, SocketAddr::new(loopback, far.port()), payload, core);
            }
        }
    }

    /// Serves a published port's socket from now on.
    pub(super) fn publish(
        &mut self,
        socket: UdpSocket,
        target: SocketAddr,
        inside: Arc<[Subnet]>,
        owner: Owner,
        core: &Core,
    ) {
        self.published.open(socket, target, inside, owner, core);
    }

    /// Closes the owner's published ports.
    pub(super) fn close(&mut self, owner: Owner, core: &mut Core) {
        self.published.close(owner, core);
    }

    /// Carries what has come for a published port.
    pub(super) fn on_published_ready(&mut self, port: u64, core: &mut Core) {
        self.published.on_ready(port, &mut self.scratch, core);
    }

    /// Forgets a published port's quiet clients.
    pub(super) fn on_published_timer(&mut self, port: u64, core: &mut Core) {
        self.published.on_timer(port, core);
    }

    fn ask(&mut self, client: SocketAddr, server: SocketAddr, message: &[u8], core: &mut Core) {
        if self.lookups.len() >= MOST_LOOKUPS {
            return count(&core.counters.over_limit);
        }
        let (dns, message) = (self.dns.clone(), message.to_vec());
        self.lookups.spawn(async move {
            let message = dns.answer(&message, Transport::Udp).await;
            Answer { client, server, message }
        });
        set(&core.counters.dns_waiting, self.lookups.len());
    }

    /// Sends answers that have come.
    pub(super) fn poll_lookups(&mut self, context: &mut Context<'_>, core: &mut Core) -> bool {
        let mut progress = false;
        while let Poll::Ready(Some(finished)) = self.lookups.poll_join_next(context) {
            progress = true;
            if let Ok(Answer { client, server, message: Some(message) }) = finished
                && !core.downlink.udp(server, client, &message)
            {
                count(&core.counters.over_limit);
            }
        }
        if progress {
            set(&core.counters.dns_waiting, self.lookups.len());
        }
        progress
    }

    /// Sends from the guest's host socket. `far` is whom the guest means, `target` where that is.
    fn send(
        &mut self,
        guest: SocketAddr,
        far: SocketAddr,
        target: SocketAddr,
        payload: &[u8],
        core: &mut Core,
    ) {
        if !self.mappings.contains_key(&guest) && !self.open(guest, core) {
            return count(&core.counters.over_limit);
        }
        let Some(mapping) = self.mappings.get_mut(&guest) else { return };
        let now = Instant::now();
        if !mapping.knows(target) && self.peers >= MOST_PEERS {
            return count(&core.counters.over_limit);
        }
        self.peers += usize::from(mapping.meet(target, far, now));
        core.timers.arm(&mut mapping.timer, Id::Udp(guest), now + mapping::FORGET_EVERY);
        match mapping.send(payload, target, core) {
            Ok(()) => {}
            Err(error) => match icmp::unreachable(&error) {
                Some(why) => unreachable(guest, far, why, core),
                None => count(&core.counters.over_limit),
            },
        }
    }

    fn open(&mut self, guest: SocketAddr, core: &mut Core) -> bool {
        if !self.shares.has_room(guest.ip()) {
            self.give_up_of(guest.ip(), core);
        } else if self.mappings.len() >= self.most {
            self.give_one_up(core);
        }
        match Mapping::open(guest, core) {
            Ok(mapping) => {
                mapping.start();
                self.mappings.insert(guest, mapping);
                self.shares.take(guest.ip());
                self.clock.push_back(guest);
                set(&core.counters.udp_flows, self.mappings.len());
                true
            }
            Err(error) => {
                tracing::debug!(%guest, %error, "no UDP socket for the guest");
                false
            }
        }
    }

    /// Ends a mapping that was not used since it was last looked at, or else the one whose turn it is.
    fn give_one_up(&mut self, core: &mut Core) {
        for looked_at in 1..=LOOKED_AT {
            let Some(guest) = self.clock.pop_front() else { return };
            let used = self.mappings.get_mut(&guest).is_some_and(Mapping::take_used);
            if !used || looked_at == LOOKED_AT {
                return self.remove(guest, core);
            }
            self.clock.push_back(guest);
        }
    }

    /// Ends the mapping of this address whose turn it is.
    fn give_up_of(&mut self, address: IpAddr, core: &mut Core) {
        if let Some(place) = self.clock.iter().position(|guest| guest.ip() == address)
            && let Some(guest) = self.clock.remove(place)
        {
            self.remove(guest, core);
        }
    }

    /// Carries what has come for a mapping.
    pub(super) fn on_ready(&mut self, guest: SocketAddr, core: &mut Core) {
        let Some(mapping) = self.mappings.get_mut(&guest) else { return };
        match mapping.receive(&mut self.scratch, core) {
            Served::All => {}
            Served::Some => mapping.requeue(),
        }
    }

    /// Forgets whom the guest has not spoken to lately, and the mapping with the last of them.
    pub(super) fn on_timer(&mut self, guest: SocketAddr, core: &mut Core) {
        let Some(mapping) = self.mappings.get_mut(&guest) else { return };
        mapping.timer.fired();
        let now = Instant::now();
        self.peers -= mapping.forget(now);
        if mapping.is_idle() {
            self.clock.retain(|other| *other != guest);
            self.remove(guest, core);
        } else {
            core.timers.arm(&mut mapping.timer, Id::Udp(guest), now + mapping::FORGET_EVERY);
        }
    }

    /// Ends a mapping that is no longer on the clock.
    fn remove(&mut self, guest: SocketAddr, core: &mut Core) {
        if let Some(mut mapping) = self.mappings.remove(&guest) {
            self.peers -= mapping.peers();
            self.shares.give_back(guest.ip());
            core.timers.disarm(&mut mapping.timer);
        }
        set(&core.counters.udp_flows, self.mappings.len());
    }
}

fn unreachable(guest: SocketAddr, far: SocketAddr, why: Unreachable, core: &mut Core) {
    icmp::send_unreachable(&mut core.downlink, &Quote::new(guest, far, IpProtocol::Udp, 0), why);
}
