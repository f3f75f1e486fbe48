//! TCP: the table of flows. A SYN makes the host connect; only when that has succeeded is the guest answered,
//! so a port that is refused outside looks refused inside. Flows to published ports are opened by `inbound`.

mod buffer;
mod connection;
mod dial;
mod flow;
mod half_open;
mod inbound;
mod receive;
mod send;
mod seq;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, TcpControl, TcpPacket, TcpRepr};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use self::connection::{Connection, Syn};
use self::dial::Dial;
use self::flow::{Far, Flow, Outcome};
use self::half_open::{HalfOpen, Place, Ticket};
pub(crate) use self::inbound::reset;
use self::seq::Seq;
use super::core::Core;
use super::dns::Dns;
use super::icmp::{self, Obstacle, Quote, Undelivered, Unreachable};
use super::inlet::Owner;
use super::packet::IpPacket;
use super::ready::{FlowWaker, Id};
use super::route::{LOOPBACKS, Route, route};
use super::shares::Shares;
use super::stats::{count, set};
use super::timers::Timer;

/// The two ends of a flow, as the guest names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FlowKey {
    pub(super) guest: SocketAddr,
    pub(super) far: SocketAddr,
}

enum State {
    Dialing { dial: Dial, syn: Syn, deadline: Instant },
    Open(Box<Flow>),
}

struct Entry {
    state: State,
    half_open: Option<Ticket>,
    /// Whose published port its client came through.
    inbound: Option<Owner>,
    /// Held until the container has answered that client.
    place: Option<OwnedSemaphorePermit>,
    /// When it is ended, whatever it does.
    ends: Option<Instant>,
    flow_waker: Arc<FlowWaker>,
    waker: Waker,
    timer: Timer,
}

impl Entry {
    /// With nothing that only one direction has; it is served as soon as it is in the table.
    fn new(state: State, flow_waker: Arc<FlowWaker>) -> Self {
        flow_waker.requeue();
        Self {
            state,
            half_open: None,
            inbound: None,
            place: None,
            ends: None,
            waker: Waker::from(Arc::clone(&flow_waker)),
            flow_waker,
            timer: Timer::default(),
        }
    }
}

/// All TCP flows.
pub(super) struct Tcp {
    flows: HashMap<FlowKey, Entry>,
    half_open: HalfOpen,
    most: usize,
    /// Of the flows that the guest opens, and of those that are not established.
    shares: Shares,
    half_open_shares: Shares,
    /// Flows of published ports, which have a limit of their own: clients outside must not keep containers from
    /// connecting, nor the other way round.
    inbound: usize,
    most_inbound: usize,
    /// Where the search for a free port of a client's stopped.
    next_far: u16,
    /// Initial sequence numbers: a clock and a keyed hash of the flow's ends (RFC 6528).
    secret: RandomState,
    epoch: Instant,
    dns: Dns,
}

impl Tcp {
    /// At most `most` flows that the guest opens, of which `most_half_open` are not established; and at most
    /// `most_inbound` that are opened to it.
    pub(super) fn new(most: usize, most_half_open: usize, most_inbound: usize, dns: Dns) -> Self {
        Self {
            flows: HashMap::new(),
            half_open: HalfOpen::new(most_half_open),
            most,
            shares: Shares::of(most),
            half_open_shares: Shares::of(most_half_open),
            inbound: 0,
            most_inbound,
            next_far: 0,
            secret: RandomState::new(),
            epoch: Instant::now(),
            dns,
        }
    }

    /// Takes a segment from the guest.
    pub(super) fn on_packet(&mut self, packet: &IpPacket<'_>, core: &mut Core) {
        let (source, destination) = (packet.source.into(), packet.destination.into());
        let parsed = TcpPacket::new_checked(packet.payload).and_then(|segment| {
            TcpRepr::parse(&segment, &source, &destination, &ChecksumCapabilities::ignored())
        });
        let Ok(repr) = parsed else {
            count(&core.counters.malformed);
            return;
        };
        let key = FlowKey {
            guest: SocketAddr::new(packet.source, repr.src_port),
            far: SocketAddr::new(packet.destination, repr.dst_port),
        };
        let outcome = match self.flows.get_mut(&key) {
            Some(entry) => entry.on_segment(&repr, core),
            None => return self.on_stranger(key, &repr, core),
        };
        match outcome {
            Outcome::Over => self.remove(&key, core),
            // Answered together with whatever else this batch of packets brings.
            Outcome::HasMore | Outcome::Waits => self.flows[&key].flow_waker.requeue(),
        }
    }

    fn on_stranger(&mut self, key: FlowKey, repr: &TcpRepr<'_>, core: &mut Core) {
        match (repr.control, repr.ack_number) {
            (TcpControl::Syn, None) => self.open(key, repr, core),
            (TcpControl::Rst, _) => {}
            _ => refuse(key, repr, core),
        }
    }

    fn open(&mut self, key: FlowKey, repr: &TcpRepr<'_>, core: &mut Core) {
        let candidates = match route(key.far.ip()) {
            Route::Outside(_) => vec![key.far],
            Route::Host => LOOPBACKS.map(|address| SocketAddr::new(address, key.far.port())).to_vec(),
            Route::Gateway if key.far.port() == super::dns::PORT => Vec::new(),
            Route::Gateway => return refuse(key, repr, core),
            Route::Nobody => {
                let quote = Quote::new(key.guest, key.far, IpProtocol::Tcp, Seq::from(repr.seq_number).0);
                return icmp::send_unreachable(&mut core.downlink, &quote, Unreachable::Host);
            }
            Route::Forbidden => {
                count(&core.counters.refused);
                return refuse(key, repr, core);
            }
        };
        let now = Instant::now();
        let address = key.guest.ip();
        let share = self.shares.has_room(address) && self.half_open_shares.has_room(address);
        if self.flows.len() - self.inbound >= self.most || !share {
            return count(&core.counters.over_limit);
        }
        match self.half_open.place(now) {
            Place::Free => {}
            Place::InsteadOf(oldest) => self.remove(&oldest, core),
            // Silence: the guest tries again in a second.
            Place::Full => return count(&core.counters.over_limit),
        }
        let dial: Dial = if candidates.is_empty() {
            let (stream, _task) = self.dns.stream();
            Box::pin(std::future::ready(Ok(Far::Dns { stream, _task })))
        } else {
            dial::dial(candidates)
        };
        let flow_waker = core.ready.waker(Id::Tcp(key));
        let state = State::Dialing { dial, syn: Syn::new(repr), deadline: now + dial::LONGEST };
        let entry = Entry { half_open: Some(self.half_open.add(key, now)), ..Entry::new(state, flow_waker) };
        self.flows.insert(key, entry);
        self.shares.take(address);
        self.half_open_shares.take(address);
        self.measure(core);
    }

    /// Does what a woken flow has to do.
    pub(super) fn on_ready(&mut self, key: FlowKey, core: &mut Core) {
        let Some(entry) = self.flows.get_mut(&key) else { return };
        entry.flow_waker.taken();
        let now = Instant::now();
        let initial = initial(&self.secret, key, self.epoch, now);
        let outcome = entry.advance(key, initial, now, core);
        if outcome != Outcome::Over && entry.is_established() {
            if let Some(ticket) = entry.half_open.take() {
                self.half_open.remove(ticket);
                self.half_open_shares.give_back(key.guest.ip());
            }
            entry.place = None;
        }
        match outcome {
            Outcome::Over => self.remove(&key, core),
            Outcome::HasMore => entry.flow_waker.requeue(),
            Outcome::Waits => {}
        }
        if let Some(entry) = self.flows.get_mut(&key) {
            let deadline = entry.deadline();
            core.timers.arm(&mut entry.timer, Id::Tcp(key), deadline);
        }
        self.measure(core);
    }

    /// Takes the guest's word that one of our segments does not arrive. Of who cannot be reached, whoever waits for a
    /// first answer hears; a connection that stands goes on, as RFC 1122 has it. Of what is too long, shorter ones
    /// are sent.
    pub(super) fn on_undelivered(&mut self, told: &Undelivered, core: &mut Core) {
        let key = FlowKey { guest: told.guest, far: told.far };
        let Some(entry) = self.flows.get_mut(&key) else { return };
        let State::Open(flow) = &mut entry.state else { return };
        match told.why {
            Obstacle::Unreachable if flow.is_unanswered() => self.end(&key, core),
            Obstacle::Unreachable => {}
            Obstacle::TooLong(passes) => {
                flow.on_too_long(Seq(told.seq), passes);
                entry.flow_waker.requeue();
            }
        }
    }

    /// Handles a flow's timer.
    pub(super) fn on_timer(&mut self, key: FlowKey, core: &mut Core) {
        let Some(entry) = self.flows.get_mut(&key) else { return };
        entry.timer.fired();
        let now = Instant::now();
        let outcome = match &mut entry.state {
            _ if entry.ends.is_some_and(|ends| ends <= now) => Outcome::Over,
            // Silence, as from a host that is not there; the guest goes on for as long as it wants.
            State::Dialing { deadline, .. } if *deadline <= now => Outcome::Over,
            State::Dialing { .. } => Outcome::Waits,
            State::Open(flow) => flow.on_time(now, &mut core.budget),
        };
        match outcome {
            Outcome::Over => self.end(&key, core),
            // It is armed again there.
            Outcome::HasMore | Outcome::Waits => entry.flow_waker.requeue(),
        }
    }

    fn remove(&mut self, key: &FlowKey, core: &mut Core) {
        let Some(mut entry) = self.flows.remove(key) else { return };
        if let Some(ticket) = entry.half_open {
            self.half_open.remove(ticket);
            self.half_open_shares.give_back(key.guest.ip());
        }
        match entry.inbound {
            Some(_) => self.inbound -= 1,
            None => self.shares.give_back(key.guest.ip()),
        }
        if let State::Open(flow) = &mut entry.state {
            flow.release(&mut core.budget);
        }
        core.timers.disarm(&mut entry.timer);
        self.measure(core);
    }

    fn measure(&self, core: &Core) {
        set(&core.counters.tcp_flows, self.flows.len());
        set(&core.counters.tcp_half_open, self.half_open.len());
        set(&core.counters.budget_used, core.budget.used());
    }
}

impl Drop for Tcp {
    /// The guest is gone. What it had not finished saying must not look finished to the far side.
    fn drop(&mut self) {
        for entry in self.flows.values() {
            if let State::Open(flow) = &entry.state {
                flow.break_off();
            }
        }
    }
}

impl Entry {
    fn on_segment(&mut self, repr: &TcpRepr<'_>, core: &mut Core) -> Outcome {
        match &mut self.state {
            // A repeated SYN: the host is still connecting. A reset: the guest no longer wants it.
            State::Dialing { .. } if repr.control == TcpControl::Rst => Outcome::Over,
            State::Dialing { .. } => Outcome::Waits,
            State::Open(flow) => {
                let mut context = Context::from_waker(&self.waker);
                flow.on_segment(repr, Instant::now(), &mut core.budget, &mut context)
            }
        }
    }

    fn is_established(&self) -> bool {
        matches!(&self.state, State::Open(flow) if flow.is_established())
    }

    fn deadline(&self) -> Instant {
        let deadline = match &self.state {
            State::Dialing { deadline, .. } => *deadline,
            State::Open(flow) => flow.deadline(),
        };
        self.ends.map_or(deadline, |ends| ends.min(deadline))
    }

    fn advance(&mut self, key: FlowKey, initial: Seq, now: Instant, core: &mut Core) -> Outcome {
        let mut context = Context::from_waker(&self.waker);
        if let State::Dialing { dial, syn, .. } = &mut self.state {
            match dial.as_mut().poll(&mut context) {
                Poll::Pending => return Outcome::Waits,
                Poll::Ready(Ok(far)) => {
                    let connection = Connection::answer(key, *syn, initial, now);
                    self.state = State::Open(Box::new(Flow::new(connection, far)));
                }
                Poll::Ready(Err(error)) => {
                    explain(key, syn, &error, core);
                    return Outcome::Over;
                }
            }
        }
        match &mut self.state {
            State::Open(flow) => flow.pump(now, &mut core.downlink, &mut core.budget, &mut context),
            State::Dialing { .. } => Outcome::Waits,
        }
    }
}

/// Tells the guest why the host could not connect.
fn explain(key: FlowKey, syn: &Syn, error: &std::io::Error, core: &mut Core) {
    match icmp::unreachable(error) {
        Some(Unreachable::Port) => {
            let mut repr = header(key.far.port(), key.guest.port(), TcpControl::Rst, Seq(0));
            repr.ack_number = Some(syn.seq().plus(1).into());
            core.downlink.tcp(key.far.ip(), key.guest.ip(), &repr);
        }
        Some(why) => {
            let quote = Quote::new(key.guest, key.far, IpProtocol::Tcp, syn.seq().0);
            icmp::send_unreachable(&mut core.downlink, &quote, why);
        }
        // No answer from the far side, or the host has run out of something: silence, and the guest's kernel
        // tries again.
        None => {
            tracing::debug!(far = %key.far, %error, "no connection for the guest");
            count(&core.counters.over_limit);
        }
    }
}

/// Answers a segment that belongs to no flow with a reset (RFC 9293, 3.10.7.1).
fn refuse(key: FlowKey, repr: &TcpRepr<'_>, core: &mut Core) {
    let seq = repr.ack_number.map_or(Seq(0), Seq::from);
    let mut reset = header(key.far.port(), key.guest.port(), TcpControl::Rst, seq);
    if repr.ack_number.is_none() {
        reset.ack_number = Some(repr.seq_number + repr.segment_len());
    }
    core.downlink.tcp(key.far.ip(), key.guest.ip(), &reset);
}

/// A header with nothing but what every segment has.
fn header(source: u16, destination: u16, control: TcpControl, seq: Seq) -> TcpRepr<'static> {
    TcpRepr {
        src_port: source,
        dst_port: destination,
        control,
        seq_number: seq.into(),
        ack_number: None,
        window_len: 0,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    }
}

fn initial(secret: &RandomState, key: FlowKey, epoch: Instant, now: Instant) -> Seq {
    // A tick every four microseconds, as RFC 6528 has it.
    let clock = (now - epoch).as_micros() as u32 / 4;
    Seq(clock.wrapping_add(secret.hash_one(key) as u32))
}
