//! The direction host → guest: bytes are held until the guest has acknowledged them, and sent as its window and
//! its segment size allow.
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
    /// `first` is the byte after our SYN; `segment` the largest payload.
    pub(super) fn new(first: Seq, segment: usize, guest: (Seq, usize)) -> Self {
        Self {
            buffer: Buffer::new(),
            una: first,
            next: first,
            max: first,
            window: guest.1,
            largest_window: guest.1,
            window_from: (guest.0, first),
            segment,
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
        let count = waiting.min(allowed).min(self.segment);
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

    /// The first segment once more.
    fn first_again(&mut self, now: Instant) -> Option<Piece> {
        let sent = self.max.past(self.una);
        let count = sent.min(self.buffer.len()).min(self.segment);
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
mod tests {
    use super::*;

    const START: Seq = Seq(u32::MAX - 50);
    const GUEST: Seq = Seq(9);

    struct Setup {
        sender: Sender,
        budget: Budget,
        now: Instant,
    }

    fn sender(window: usize) -> Setup {
        let sender = Sender::new(START, 1000, (GUEST, window));
        Setup { sender, budget: Budget::new(1 << 20), now: Instant::now() }
    }

    impl Setup {
        fn write(&mut self, count: usize) {
            self.sender.space()[..count].fill(1);
            self.sender.commit(count, &mut self.budget);
        }

        fn pieces(&mut self) -> Vec<(usize, usize, bool)> {
            let now = self.now;
            std::iter::from_fn(|| self.sender.next_piece(now))
                .map(|piece| (piece.seq.past(START), piece.bytes.len(), piece.fin))
                .collect()
        }

        fn ack(&mut self, upto: usize, window: usize) -> bool {
            self.sender.acknowledge(GUEST, START.plus(upto), window, true, self.now)
        }

        fn wait(&mut self) -> bool {
            self.now = self.sender.deadline().expect("a deadline");
            self.sender.on_time(self.now)
        }
    }

    #[test]
    fn segments_are_cut_to_size_and_the_last_one_carries_the_fin() {
        let mut setup = sender(1 << 20);
        setup.write(2500);
        setup.sender.finish();
        assert_eq!(setup.pieces(), [(0, 1000, false), (1000, 1000, false), (2000, 500, true)]);
        assert!(setup.ack(2501, 1 << 20));
        assert!(setup.sender.finished());
        assert_eq!(setup.sender.deadline(), None);
    }

    #[test]
    fn the_guests_window_holds_bytes_back() {
        let mut setup = sender(1500);
        setup.write(4000);
        assert_eq!(setup.pieces(), [(0, 1000, false)], "the rest of the window is not worth a packet");
        setup.ack(1000, 3000);
        assert_eq!(setup.pieces(), [(1000, 1000, false), (2000, 1000, false), (3000, 1000, false)]);
    }

    #[test]
    fn a_shut_window_is_probed_until_it_opens() {
        let mut setup = sender(1000);
        setup.write(3000);
        assert_eq!(setup.pieces(), [(0, 1000, false)]);
        setup.ack(1000, 0);
        assert_eq!(setup.pieces(), []);
        assert!(setup.wait());
        assert_eq!(setup.pieces(), [(1000, 1, false)]);
        setup.ack(1000, 0);
        assert!(setup.wait());
        assert_eq!(setup.pieces(), [(1000, 1, false)]);
        setup.ack(1001, 5000);
        assert_eq!(setup.pieces(), [(1001, 1000, false), (2001, 999, false)]);
    }

    #[test]
    fn three_repeated_acknowledgements_send_the_first_segment_again() {
        let mut setup = sender(1 << 20);
        setup.write(4000);
        assert_eq!(setup.pieces().len(), 4);
        for _ in 0..3 {
            assert_eq!(setup.pieces(), []);
            setup.ack(0, 1 << 20);
        }
        assert_eq!(setup.pieces(), [(0, 1000, false)]);
        setup.ack(2000, 1 << 20);
        assert_eq!(setup.pieces(), [(2000, 1000, false)], "the next hole, as recovery lasts");
        setup.ack(4000, 1 << 20);
        assert_eq!(setup.pieces(), []);
    }

    #[test]
    fn a_guest_that_never_acknowledges_is_given_up() {
        let mut setup = sender(1 << 20);
        setup.write(10);
        assert_eq!(setup.pieces(), [(0, 10, false)]);
        let mut again = 0;
        while setup.wait() {
            assert_eq!(setup.pieces(), [(0, 10, false)]);
            again += 1;
        }
        assert_eq!(again, MOST_TIMEOUTS);
    }

    #[test]
    fn a_lost_fin_is_sent_again() {
        let mut setup = sender(1 << 20);
        setup.sender.finish();
        assert_eq!(setup.pieces(), [(0, 0, true)]);
        assert!(setup.wait());
        assert_eq!(setup.pieces(), [(0, 0, true)]);
        setup.ack(1, 1 << 20);
        assert!(setup.sender.finished());
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_refused() {
        let mut setup = sender(1 << 20);
        setup.write(10);
        setup.pieces();
        assert!(!setup.ack(11, 1 << 20));
        assert!(setup.ack(10, 1 << 20));
    }

    #[test]
    fn a_guest_that_takes_more_gets_a_larger_buffer_until_it_is_idle() {
        let mut setup = sender(1 << 20);
        let mut written = 0;
        for _ in 0..3 {
            let count = setup.sender.space().len();
            setup.write(count);
            written += count;
        }
        assert_eq!(written, 64 << 10);
        assert!(setup.budget.used() > 0);
        setup.pieces();
        setup.ack(written, 1 << 20);
        setup.sender.trim(&mut setup.budget);
        assert_eq!(setup.budget.used(), 0);
        assert!(!setup.sender.is_allocated());
    }
}
