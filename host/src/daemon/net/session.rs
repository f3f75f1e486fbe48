//! One stream of the guest's and all flows on it. A single task polls everything: packets in, flows that were
//! woken, timers, packets out. No step looks at a flow that has nothing to do.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use holm_vmm::Stream;
use smoltcp::wire::IpProtocol;
use tokio::time::Instant;

use super::GatewayConfig;
use super::budget::Budget;
use super::core::Core;
use super::dns::Dns;
use super::downlink::Downlink;
use super::fragments::{Fragments, Whole};
use super::frame::Inbox;
use super::icmp;
use super::inlet::{Inlet, Order};
use super::packet::{IpPacket, Unreadable, parse};
use super::ping::Ping;
use super::ready::{Id, ReadyQueue};
use super::route::{Route, acceptable_source, route};
use super::stats::{Counters, count, set};
use super::tcp::Tcp;
use super::timers::Timers;
use super::udp::Udp;

/// Rounds before other tasks of the thread have their turn.
const ROUNDS: usize = 16;
/// Clients of published ports taken in a round.
const ORDERS: usize = 16;
/// Flows served in a round.
const FLOWS: usize = 64;

/// Everything that ends with the stream.
pub(super) struct Session {
    stream: Stream,
    inbox: Inbox,
    inlet: Inlet,
    switch: Switch,
}

/// Where packets go.
pub(super) struct Switch {
    pub(super) core: Core,
    tcp: Tcp,
    udp: Udp,
    ping: Ping,
    fragments: Fragments,
}

impl Session {
    pub(super) fn new(
        stream: Stream,
        config: &GatewayConfig,
        dns: Dns,
        counters: Arc<Counters>,
        inlet: Inlet,
    ) -> Self {
        Self { stream, inbox: Inbox::new(), inlet, switch: Switch::new(config, dns, counters) }
    }

    /// Serves until the stream ends.
    pub(super) async fn run(mut self) -> io::Result<()> {
        // Without tokio's own limit on polls: once that is used up every socket says "not yet" and wakes its
        // flow, which here would go round in circles. `ROUNDS` is the limit instead.
        tokio::task::unconstrained(poll_fn(|context| self.poll(context))).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.core.ready.register(context.waker());
        for _ in 0..ROUNDS {
            let mut progress = false;
            match self.inbox.poll_fill(&mut self.stream, context) {
                Poll::Ready(Ok(true)) => {
                    progress = true;
                    while let Some(packet) = self.inbox.next_packet() {
                        self.switch.on_packet(packet);
                    }
                }
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
            for _ in 0..ORDERS {
                let Poll::Ready(order) = self.inlet.poll(context) else { break };
                progress = true;
                self.switch.on_order(order);
            }
            progress |= self.switch.serve_ready();
            progress |= self.switch.serve_timers(context);
            progress |= self.switch.udp.poll_lookups(context, &mut self.switch.core);
            let flushed = self.switch.core.downlink.poll_flush(&mut self.stream, context, &mut progress);
            if let Poll::Ready(Err(error)) = flushed {
                return Poll::Ready(Err(error));
            }
            if !progress {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Switch {
    pub(super) fn new(config: &GatewayConfig, dns: Dns, counters: Arc<Counters>) -> Self {
        let core = Core {
            downlink: Downlink::new(),
            timers: Timers::default(),
            ready: ReadyQueue::default(),
            budget: Budget::new(config.buffer_budget),
            counters,
        };
        let tcp =
            Tcp::new(config.most_tcp_flows, config.most_half_open, config.most_inbound_flows, dns.clone());
        let udp = Udp::new(config.most_udp_flows, dns);
        Self { core, tcp, udp, ping: Ping::new(config.most_ping_flows), fragments: Fragments::default() }
    }

    /// Takes a packet from the guest, whatever it is.
    pub(super) fn on_packet(&mut self, bytes: &[u8]) {
        count(&self.core.counters.received);
        match parse(bytes) {
            Ok(packet) if acceptable_source(packet.source) => self.deliver(&packet),
            Ok(_) => count(&self.core.counters.refused),
            Err(Unreadable::Malformed) => count(&self.core.counters.malformed),
            Err(Unreadable::Fragment(piece)) if acceptable_source(piece.whole.source) => {
                count(&self.core.counters.fragments);
                if let Some(payload) = self.fragments.add(&piece, Instant::now()) {
                    let Whole { source, destination, protocol, .. } = piece.whole;
                    let hop_limit = piece.hop_limit;
                    self.deliver(&IpPacket { source, destination, protocol, hop_limit, payload: &payload });
                }
            }
            Err(Unreadable::Fragment(_)) => count(&self.core.counters.refused),
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Connection(arrival) => self.tcp.accept(arrival, &mut self.core),
            Order::Datagrams { socket, target, inside, owner } => {
                self.udp.publish(socket, target, inside, owner, &self.core);
            }
            Order::Close { owner, closed } => {
                self.tcp.close(owner, &mut self.core);
                self.udp.close(owner, &mut self.core);
                drop(closed);
            }
        }
    }

    fn deliver(&mut self, packet: &IpPacket<'_>) {
        let v4 = packet.source.is_ipv4();
        // The gateway is a router to whatever is outside; what it has itself, it does not pass on.
        if packet.hop_limit <= 1 && matches!(route(packet.destination), Route::Outside(_)) {
            return icmp::answer_expired(&mut self.core.downlink, packet);
        }
        match packet.protocol {
            IpProtocol::Tcp => self.tcp.on_packet(packet, &mut self.core),
            IpProtocol::Udp => self.udp.on_packet(packet, &mut self.core),
            IpProtocol::Icmp | IpProtocol::Icmpv6 if packet.protocol == icmp::protocol(packet.source) => {
                match icmp::parse_undelivered(packet.payload, v4) {
                    Some(told) => self.tcp.on_undelivered(&told, &mut self.core),
                    None => self.ping.on_packet(packet, &mut self.core),
                }
            }
            _ => count(&self.core.counters.refused),
        }
    }

    /// Serves flows that were woken, while there is room for what they have to say.
    fn serve_ready(&mut self) -> bool {
        let mut served = 0;
        while served < FLOWS && self.core.downlink.has_room() {
            match self.core.ready.pop() {
                Some(Id::Tcp(key)) => self.tcp.on_ready(key, &mut self.core),
                Some(Id::Udp(guest)) => self.udp.on_ready(guest, &mut self.core),
                Some(Id::Published(port)) => self.udp.on_published_ready(port, &mut self.core),
                Some(Id::Ping(key)) => self.ping.on_ready(key, &mut self.core),
                None => break,
            }
            served += 1;
        }
        served > 0
    }

    fn serve_timers(&mut self, context: &mut Context<'_>) -> bool {
        let mut fired = false;
        while let Some(id) = self.core.timers.poll(context) {
            fired = true;
            match id {
                Id::Tcp(key) => self.tcp.on_timer(key, &mut self.core),
                Id::Udp(guest) => self.udp.on_timer(guest, &mut self.core),
                Id::Published(port) => self.udp.on_published_timer(port, &mut self.core),
                Id::Ping(key) => self.ping.on_timer(key, &mut self.core),
            }
        }
        fired
    }
}

impl Drop for Switch {
    /// The flows go with the stream, and the gauges must say so.
    fn drop(&mut self) {
        let counters = &self.core.counters;
        for gauge in [
            &counters.tcp_flows,
            &counters.tcp_half_open,
            &counters.udp_flows,
            &counters.ping_flows,
            &counters.dns_waiting,
            &counters.budget_used,
        ] {
            set(gauge, 0);
        }
    }
}
