//! One TCP connection as the guest sees it: what each segment means and which segments answer it. Reads no
//! clock and touches no socket; `flow` carries bytes between it and the host.
//!
//! ```text
//!   guest ── SYN ──► (the host connects) ── Connection::answer ──► SynReceived ── ACK ──► Established
//!   (a client of a published port) ── Connection::open ──► SynSent ── the guest's SYN-ACK ──► Established
//!   each direction then ends by itself: FIN taken by `Receiver`, FIN acknowledged to `Sender`
//! ```
//!
//! smoltcp gives the segments' codec, the rings and the reassembly. Its socket is not used: it takes both
//! buffers, at their final size, before the handshake, and they can neither grow nor be given back. There is
//! no TIME-WAIT: the link repeats nothing, and a stray segment of a flow that is gone is answered with a reset.

use std::time::Duration;

use holm_api::network::MTU;
use smoltcp::wire::{IPV4_HEADER_LEN, IPV6_HEADER_LEN, TCP_HEADER_LEN, TcpControl, TcpRepr};
use tokio::time::Instant;

use super::FlowKey;
use super::receive::{Receiver, SHIFT};
use super::send::{Piece, Sender};
use super::seq::Seq;
use crate::daemon::net::budget::Budget;
use crate::daemon::net::downlink::{Downlink, Payload};

/// First wait for the guest's answer to our SYN or SYN-ACK; doubles.
const SYN_WAIT: Duration = Duration::from_secs(1);
/// SYNs sent before a guest that does not answer is given up: seven seconds in all.
const MOST_SYNS: u32 = 3;
/// Silence after which a guest is asked whether it is still there.
const IDLE: Duration = Duration::from_secs(300);
/// Between two such questions.
const PROBE_EVERY: Duration = Duration::from_secs(15);
/// Unanswered questions after which it is taken for dead.
const MOST_PROBES: u32 = 4;
/// Quiet after which buffers are freed.
const TRIM_AFTER: Duration = Duration::from_secs(10);
/// The smallest segment size that is believed; a guest that asks for less gets this.
const SMALLEST_SEGMENT: u16 = 88;

/// What the guest's SYN, or SYN-ACK, says of its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Syn {
    seq: Seq,
    segment: Option<u16>,
    scale: Option<u8>,
    selective: bool,
    window: u16,
}

impl Syn {
    /// `repr` must be a SYN.
    pub(super) fn new(repr: &TcpRepr<'_>) -> Self {
        Self {
            seq: repr.seq_number.into(),
            segment: repr.max_seg_size,
            scale: repr.window_scale,
            selective: repr.sack_permitted,
            window: repr.window_len,
        }
    }

    /// Its sequence number.
    pub(super) fn seq(&self) -> Seq {
        self.seq
    }
}

/// Whether a connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It does.
    Lives,
    /// The guest has reset it, or is gone.
    Dead,
}

enum Handshake {
    /// Our SYN is not answered. What `Connection` has of the guest's end means nothing yet.
    SynSent(Tries),
    /// Our SYN-ACK is not acknowledged.
    SynReceived(Tries),
    Established,
}

/// How often something was sent that is not answered, and when again.
struct Tries {
    sent: u32,
    due: bool,
    deadline: Instant,
}

impl Tries {
    fn new(now: Instant) -> Self {
        Self { sent: 0, due: true, deadline: now + SYN_WAIT }
    }

    /// Handles a deadline that may have passed.
    fn on_time(&mut self, now: Instant) -> Fate {
        if self.deadline <= now {
            if self.sent >= MOST_SYNS {
                return Fate::Dead;
            }
            self.due = true;
            self.deadline = now + SYN_WAIT * 2u32.saturating_pow(self.sent);
        }
        Fate::Lives
    }

    /// Whether one is to be sent now, which is then counted.
    fn take_due(&mut self) -> bool {
        self.sent += u32::from(self.due);
        std::mem::take(&mut self.due)
    }
}

pub(super) struct Connection {
    key: FlowKey,
    syn: Syn,
    handshake: Handshake,
    initial: Seq,
    receiver: Receiver,
    sender: Sender,
    /// An acknowledgement is to be sent.
    acknowledge: bool,
    /// When the guest last sent something.
    heard: Instant,
    /// When buffers were last freed, or it was tried.
    trimmed: Instant,
    probes: u32,
    probe: bool,
}

impl Connection {
    /// The answer to `syn`, now that the host has connected. `initial` is our first sequence number.
    pub(super) fn answer(key: FlowKey, syn: Syn, initial: Seq, now: Instant) -> Self {
        Self::new(key, syn, Handshake::SynReceived(Tries::new(now)), initial, now)
    }

    /// A connection to the guest, which has not heard of it yet.
    pub(super) fn open(key: FlowKey, initial: Seq, now: Instant) -> Self {
        let unknown = Syn { seq: Seq(0), segment: None, scale: Some(0), selective: false, window: 0 };
        Self::new(key, unknown, Handshake::SynSent(Tries::new(now)), initial, now)
    }

    fn new(key: FlowKey, syn: Syn, handshake: Handshake, initial: Seq, now: Instant) -> Self {
        let (receiver, sender) = ends(key, &syn, initial);
        Self {
            key,
            syn,
            handshake,
            initial,
            receiver,
            sender,
            acknowledge: false,
            heard: now,
            trimmed: now,
            probes: 0,
            probe: false,
        }
    }

    /// Whether the guest has not yet said anything.
    pub(super) fn is_unanswered(&self) -> bool {
        matches!(self.handshake, Handshake::SynSent(_))
    }

    /// Whether both sides have said that they are there.
    pub(super) fn is_established(&self) -> bool {
        matches!(self.handshake, Handshake::Established)
    }

    /// Takes a segment. `sink` takes bytes for the host and says how many it took.
    pub(super) fn on_segment(
        &mut self,
        repr: &TcpRepr<'_>,
        now: Instant,
        budget: &mut Budget,
        sink: impl FnOnce(&[u8]) -> usize,
    ) -> Fate {
        if self.is_unanswered() {
            return self.on_answer(repr, now);
        }
        self.heard = now;
        self.probes = 0;
        let seq = Seq::from(repr.seq_number);
        match repr.control {
            TcpControl::Rst => return self.on_reset(seq),
            TcpControl::Syn => {
                // Our answer was lost, or (RFC 5961) the guest has forgotten and will say so with a reset.
                match &mut self.handshake {
                    Handshake::SynReceived(tries) => tries.due = true,
                    Handshake::SynSent(_) | Handshake::Established => self.acknowledge = true,
                }
                return Fate::Lives;
            }
            TcpControl::None | TcpControl::Psh | TcpControl::Fin => {}
        }
        let Some(acknowledged) = repr.ack_number.map(Seq::from) else {
            return Fate::Lives;
        };
        if !self.is_established() {
            if acknowledged != self.initial.plus(1) {
                return Fate::Lives;
            }
            self.handshake = Handshake::Established;
        }
        let fin = repr.control == TcpControl::Fin;
        let bare = repr.payload.is_empty() && !fin;
        let window = usize::from(repr.window_len) << self.syn.scale.unwrap_or(0);
        if !self.sender.acknowledge(seq, acknowledged, window, bare, now) {
            self.acknowledge = true;
            return Fate::Lives;
        }
        // A keep-alive or a window probe stands one before what is expected.
        self.acknowledge |= !bare || seq == self.receiver.next().before();
        if !bare {
            self.receiver.accept(seq, repr.payload, fin, budget, sink);
        }
        Fate::Lives
    }

    /// What came in answer to our SYN (RFC 9293, 3.10.7.3). Both sides opening at once cannot be: a container's
    /// connect to whom we speak for has another key, or comes too late.
    fn on_answer(&mut self, repr: &TcpRepr<'_>, now: Instant) -> Fate {
        if repr.ack_number.map(Seq::from) != Some(self.initial.plus(1)) {
            return Fate::Lives;
        }
        match repr.control {
            TcpControl::Rst => Fate::Dead,
            TcpControl::Syn => {
                self.syn = Syn::new(repr);
                (self.receiver, self.sender) = ends(self.key, &self.syn, self.initial);
                self.handshake = Handshake::Established;
                self.heard = now;
                self.acknowledge = true;
                Fate::Lives
            }
            TcpControl::None | TcpControl::Psh | TcpControl::Fin => Fate::Lives,
        }
    }

    /// RFC 5961, 3.2: a reset must stand exactly where the next byte is expected; one that is only near asks
    /// for another that does.
    fn on_reset(&mut self, seq: Seq) -> Fate {
        if seq == self.receiver.next() {
            return Fate::Dead;
        }
        self.acknowledge |= self.receiver.in_window(seq);
        Fate::Lives
    }

    /// The direction guest → host.
    pub(super) fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    /// The direction host → guest.
    pub(super) fn sender(&mut self) -> &mut Sender {
        &mut self.sender
    }

    /// Whether both directions have ended and the guest knows all it needs to.
    pub(super) fn is_finished(&self) -> bool {
        self.receiver.finished()
            && self.receiver.held().is_empty()
            && self.sender.finished()
            && !self.acknowledge
    }

    /// Sends what is to be sent. `false`: there is no room for the rest.
    pub(super) fn emit(&mut self, downlink: &mut Downlink, now: Instant) -> bool {
        if !downlink.has_room() {
            return false;
        }
        if let Handshake::SynReceived(tries) | Handshake::SynSent(tries) = &mut self.handshake {
            if tries.take_due() {
                self.send_syn(downlink);
            }
            return true;
        }
        while let Some(piece) = self.sender.next_piece(now) {
            self.send_piece(downlink, &piece);
            if !downlink.has_room() {
                return false;
            }
        }
        if self.acknowledge || self.receiver.window_opened() {
            self.send_bare(downlink, self.sender.sent_up_to());
        }
        if std::mem::take(&mut self.probe) && downlink.has_room() {
            self.send_bare(downlink, self.sender.una().before());
        }
        true
    }

    fn send_syn(&self, downlink: &mut Downlink) {
        let mut repr = self.header(TcpControl::Syn, self.initial);
        let opens = self.is_unanswered();
        repr.ack_number = (!opens).then(|| self.receiver.next().into());
        repr.window_len = self.receiver.first_window();
        repr.max_seg_size = u16::try_from(MTU - headers(self.key)).ok();
        repr.window_scale = self.syn.scale.map(|_| SHIFT);
        repr.sack_permitted = opens || self.syn.selective;
        downlink.tcp(self.key.far.ip(), self.key.guest.ip(), &repr);
    }

    fn send_piece(&mut self, downlink: &mut Downlink, piece: &Piece) {
        let control = if piece.fin { TcpControl::Fin } else { TcpControl::Psh };
        let mut repr = self.header(control, piece.seq);
        repr.ack_number = Some(self.receiver.next().into());
        repr.window_len = self.receiver.announce();
        self.acknowledge = false;
        let sender = &mut self.sender;
        let payload = Payload { length: piece.bytes.len(), segment: sender.segment() };
        downlink.tcp_with(self.key.far.ip(), self.key.guest.ip(), &repr, payload, |target| {
            sender.copy_to(piece, target);
        });
    }

    fn send_bare(&mut self, downlink: &mut Downlink, seq: Seq) {
        let mut repr = self.header(TcpControl::None, seq);
        repr.ack_number = Some(self.receiver.next().into());
        repr.window_len = self.receiver.announce();
        if self.syn.selective {
            repr.sack_ranges[0] = self.receiver.ahead();
        }
        self.acknowledge = false;
        downlink.tcp(self.key.far.ip(), self.key.guest.ip(), &repr);
    }

    /// Tells the guest that the connection has failed.
    pub(super) fn reset(&self, downlink: &mut Downlink) {
        let seq = if self.is_established() { self.sender.sent_up_to() } else { self.initial.plus(1) };
        let mut repr = self.header(TcpControl::Rst, seq);
        repr.ack_number = (!self.is_unanswered()).then(|| self.receiver.next().into());
        downlink.tcp(self.key.far.ip(), self.key.guest.ip(), &repr);
    }

    fn header(&self, control: TcpControl, seq: Seq) -> TcpRepr<'static> {
        super::header(self.key.far.port(), self.key.guest.port(), control, seq)
    }

    /// The packet with this segment was longer than what passes on the way to the guest.
    pub(super) fn on_too_long(&mut self, seq: Seq, passes: usize) {
        let segment = passes.saturating_sub(headers(self.key)).max(SMALLEST_SEGMENT.into());
        self.sender.shorten(seq, segment);
    }

    /// When [`Self::on_time`] is due.
    pub(super) fn deadline(&self) -> Instant {
        if let Handshake::SynReceived(tries) | Handshake::SynSent(tries) = &self.handshake {
            return tries.deadline;
        }
        let mut deadline = self.heard + IDLE + PROBE_EVERY * self.probes;
        if self.receiver.is_allocated() || self.sender.is_allocated() {
            deadline = deadline.min(self.heard.max(self.trimmed) + TRIM_AFTER);
        }
        deadline.min(self.sender.deadline().unwrap_or(deadline))
    }

    /// Handles the deadlines that have passed; what they call for is sent by the next [`Self::emit`].
    pub(super) fn on_time(&mut self, now: Instant, budget: &mut Budget) -> Fate {
        if let Handshake::SynReceived(tries) | Handshake::SynSent(tries) = &mut self.handshake {
            return tries.on_time(now);
        }
        if self.heard.max(self.trimmed) + TRIM_AFTER <= now {
            self.trimmed = now;
            self.receiver.trim();
            self.sender.trim(budget);
        }
        if self.heard + IDLE + PROBE_EVERY * self.probes <= now {
            self.probes += 1;
            self.probe = true;
        }
        if self.probes > MOST_PROBES || !self.sender.on_time(now) {
            return Fate::Dead;
        }
        Fate::Lives
    }

    /// Gives back what was reserved. At the flow's end.
    pub(super) fn release(&mut self, budget: &mut Budget) {
        self.receiver.release(budget);
        self.sender.release(budget);
    }
}

/// Bytes of a segment's headers without options.
fn headers(key: FlowKey) -> usize {
    TCP_HEADER_LEN + if key.guest.is_ipv4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
}

/// Both directions at their start.
fn ends(key: FlowKey, syn: &Syn, initial: Seq) -> (Receiver, Sender) {
    let v4 = key.guest.is_ipv4();
    let ours = MTU - headers(key);
    // RFC 9293, 3.7.1: what holds where the option is missing.
    let theirs = syn.segment.unwrap_or(if v4 { 536 } else { 1220 }).max(SMALLEST_SEGMENT);
    let receiver = Receiver::new(syn.seq.plus(1), syn.scale.is_some());
    // The window of a SYN is never scaled.
    let guest = (syn.seq, syn.window.into());
    (receiver, Sender::new(initial.plus(1), ours.min(theirs.into()), ours, guest))
}

#[cfg(test)]
mod tests;
