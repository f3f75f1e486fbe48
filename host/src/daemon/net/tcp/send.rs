//! The direction host → guest: bytes are held until the guest has acknowledged them, and sent as its window allows:
//! many of its segments as one packet, which its kernel cuts.
//!
//! The link is a stream that loses nothing and pushes back, so there is no congestion to control. The guest's
//! own queues may still drop a packet: three repeated acknowledgements or a timeout send the first missing
//! segment again, and one after the other while recovery lasts (NewReno without the window).

use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::buffer::Buffer;
use super::seq::Seq;
use crate::daemon::net::budget::Budget;

/// How long an acknowledgement may take. The link answers within a millisecond; a guest under emulation, or
/// one that swaps, takes longer. Doubles each time.
const FIRST_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest that it doubles to.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeouts in a row after which the guest is taken for dead: about three minutes.
const MOST_TIMEOUTS: u32 = 12;
/// Repeated acknowledgements that mean a loss (RFC 5681).
const REPEATS: u32 = 3;

/// Something to send: where it begins, which of the held bytes it carries, and whether it ends the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) seq: Seq,
    pub(super) bytes: Range<usize>,
    pub(super) fin: bool,
}

pub(super) struct Sender {
    buffer: Buffer,
    /// The first byte not acknowledged; the buffer begins here.
    una: Seq,
    /// The next to send.
    next: Seq,
    /// The furthest ever sent.
    max: Seq,
    /// How far past `una` the guest's window reaches.
    window: usize,
    largest_window: usize,
    /// Sequence and acknowledgement of the segment that told the window, so that an old one does not.
    window_from: (Seq, Seq),
    segment: usize,
    /// Bytes of a packet's payload, of which it takes as many whole segments as fit.
    packet: usize,
    fin: bool,
    fin_acknowledged: bool,
    repeats: u32,
    /// Recovery from a loss lasts until this is acknowledged.
    recover: Option<Seq>,
    /// A loss was seen: the first segment is to be sent again.
    again: bool,
    timeouts: u32,
    deadline: Option<Instant>,
}

impl Sender {
    /// `first` is the byte after our SYN; `segment` the largest payload of a segment, `packet` that of a packet.
    pub(super) fn new(first: Seq, segment: usize, packet: usize, guest: (Seq, usize)) -> Self {
        Self {
            buffer: Buffer::new(),
            una: first,
            next: first,
            max: first,
            window: guest.1,
            largest_window: guest.1,
            window_from: (guest.0, first),
            segment,
            packet,
            fin: false,
            fin_acknowledged: false,
            repeats: 0,
            recover: None,
            again: false,
            timeouts: 0,
            deadline: None,
        }
    }

    /// The end of all that was ever sent: what an ACK without bytes carries.
    pub(super) fn sent_up_to(&self) -> Seq {
        self.max
    }

    /// The first place not acknowledged.
    pub(super) fn una(&self) -> Seq {
        self.una
    }

    fn burst(&self) -> usize {
        self.packet - self.packet % self.segment
    }

    /// A segment that begins at `seq` was too long for the way; `segment` bytes are not. What is under way of which
    /// nothing was said is sent again too, as after any loss. Of what is not under way nobody could know (RFC 5927).
    pub(super) fn shorten(&mut self, seq: Seq, segment: usize) {
        let is_under_way = seq.distance(self.una) >= 0 && seq.distance(self.next) < 0;
        if is_under_way && segment < self.segment {
            self.segment = segment;
            self.recover = Some(self.max);
            self.again = true;
        }
    }

    /// Bytes that the guest takes in one segment.
    pub(super) fn segment(&self) -> usize {
        self.segment
    }

    /// Whether everything was sent and acknowledged, the FIN included.
    pub(super) fn finished(&self) -> bool {
        self.fin_acknowledged
    }

    /// Ends the stream behind the bytes held.
    pub(super) fn finish(&mut self) {
        self.fin = true;
    }

    /// Where bytes from the host may be written. Empty: the guest has to acknowledge some first.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.fin { &mut [] } else { self.buffer.space() }
    }

    /// Counts bytes written to [`Self::space`]. A buffer that is filled to its limit while the guest would take
    /// more is worth a larger one.
    pub(super) fn commit(&mut self, count: usize, budget: &mut Budget) {
        self.buffer.commit(count);
        if self.buffer.len() == self.buffer.limit() && self.window >= self.buffer.limit() {
            self.buffer.raise_limit(budget);
        }
    }

    /// Copies held bytes into a segment.
    pub(super) fn copy_to(&mut self, piece: &Piece, target: &mut [u8]) {
        self.buffer.copy_to(piece.bytes.start, target);
    }

    /// Takes what the guest acknowledged and the window it gave. `bare`: the segment carried nothing else.
    /// `false` where it acknowledges what was never sent.
    pub(super) fn acknowledge(
        &mut self,
        seq: Seq,
        acknowledged: Seq,
        window: usize,
        bare: bool,
        now: Instant,
    ) -> bool {
        if acknowledged.distance(self.max) > 0 {
            return false;
        }
        let count = acknowledged.past(self.una);
        if count > 0 {
            self.advance(acknowledged, count, now);
        } else if acknowledged == self.una && self.in_flight() > 0 && bare && window == self.window {
            self.repeats += 1;
            if self.repeats == REPEATS && self.recover.is_none() {
                self.recover = Some(self.max);
                self.again = true;
            }
        }
        let (last_seq, last_acknowledged) = self.window_from;
        let order = seq.distance(last_seq);
        if order > 0 || (order == 0 && acknowledged.distance(last_acknowledged) >= 0) {
            if self.window == 0 && window > 0 {
                self.timeouts = 0;
                self.deadline = (self.in_flight() > 0).then(|| now + FIRST_TIMEOUT);
            }
            self.window = window;
            self.largest_window = self.largest_window.max(window);
            self.window_from = (seq, acknowledged);
        }
        true
    }

    fn advance(&mut self, acknowledged: Seq, count: usize, now: Instant) {
        let bytes = count.min(self.buffer.len());
        self.buffer.consume(bytes);
        self.fin_acknowledged |= count > bytes;
        self.una = acknowledged;
        self.next = self.next.max(acknowledged);
        self.repeats = 0;
        self.timeouts = 0;
        self.deadline = (self.in_flight() > 0).then(|| now + FIRST_TIMEOUT);
        match self.recover {
            Some(until) if acknowledged.distance(until) < 0 => self.again = true,
            _ => self.recover = None,
        }
    }

    fn in_flight(&self) -> usize {
        self.next.past(self.una)
    }

    /// The next segment to send, counted as sent, or `None`. The caller must send it.
    pub(super) fn next_piece(&mut self, now: Instant) -> Option<Piece> {
        if std::mem::take(&mut self.again) {
            return self.first_again(now);
        }
        let flight = self.in_flight();
        let waiting = self.buffer.len().saturating_sub(flight);
        let allowed = self.window.saturating_sub(flight);
        let mut count = waiting.min(allowed).min(self.burst());
        if count > self.segment && count < waiting {
            // The window's end: no short segment in the middle of the stream.
            count -= count % self.segment;
        }
        // Of a window that is almost shut a rest is not worth a packet while others are under way.
        let silly = count < waiting.min(self.segment) && count < self.largest_window / 2 && flight > 0;
        let all = flight <= self.buffer.len() && count == waiting;
        let fin = self.fin && all && !silly;
        if (count == 0 && !fin) || silly {
            if waiting > 0 && flight == 0 {
                self.arm(now);
            }
            return None;
        }
        let piece = Piece { seq: self.next, bytes: flight..flight + count, fin };
        self.next = self.next.plus(count + usize::from(fin));
        self.max = self.max.max(self.next);
        self.arm(now);
        Some(piece)
    }

    /// The first segments once more: what went as one packet was lost as one.
    fn first_again(&mut self, now: Instant) -> Option<Piece> {
        let sent = self.max.past(self.una);
        let count = sent.min(self.buffer.len()).min(self.burst());
        let fin = self.fin && sent > self.buffer.len() && count == self.buffer.len();
        if count == 0 && !fin {
            return None;
        }
        self.arm(now);
        Some(Piece { seq: self.una, bytes: 0..count, fin })
    }

    fn arm(&mut self, now: Instant) {
        self.deadline.get_or_insert(now + FIRST_TIMEOUT);
    }

    /// When [`Self::on_time`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Handles a deadline that has passed: a segment was lost, or a shut window has to be probed with one byte.
    /// `false`: the guest is gone.
    pub(super) fn on_time(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return true;
        }
        self.timeouts += 1;
        if self.timeouts > MOST_TIMEOUTS {
            return false;
        }
        let wait = FIRST_TIMEOUT * 2u32.saturating_pow(self.timeouts);
        self.deadline = Some(now + wait.min(LONGEST_TIMEOUT));
        if self.in_flight() == 0 && self.buffer.len() > 0 {
            // A probe of a shut window. Not counted in `next`: the guest need not take it.
            self.max = self.max.max(self.una.plus(1));
        } else {
            self.recover = Some(self.max);
        }
        self.again = true;
        true
    }

    /// Frees memory, and gives back what was reserved, while nothing is held.
    pub(super) fn trim(&mut self, budget: &mut Budget) {
        if self.buffer.len() == 0 {
            self.buffer.trim();
            self.buffer.lower_limit(budget);
        }
    }

    /// Whether memory is allocated.
    pub(super) fn is_allocated(&self) -> bool {
        self.buffer.is_allocated()
    }

    /// Gives back what was reserved. At the flow's end.
    pub(super) fn release(&mut self, budget: &mut Budget) {
        self.buffer.lower_limit(budget);
    }
}

#[cfg(test)]
mod tests;
