//! The direction guest → host: which bytes are taken, in what order, and what window is announced.
//!
//! A large segment that arrives in order goes straight to the host's socket (the `sink`). Small ones are held
//! until the batch of packets they came in is through, for one write in place of many; so is what the socket
//! does not take, and what arrives out of order. The announced right edge never moves back, and held bytes plus window
//! never exceed the buffer's limit, so the guest cannot make a flow hold more than it was granted.

use smoltcp::storage::Assembler;

use super::buffer::{Buffer, LARGEST};
use super::seq::Seq;
use crate::daemon::net::budget::Budget;

/// The window's unit is 2^this bytes: the largest buffer fits the field's 16 bits with some to spare.
pub(super) const SHIFT: u8 = 6;
const _: () = assert!(LARGEST >> SHIFT <= u16::MAX as usize);

/// Bytes of the smallest segment that is worth a write of its own.
const LARGE: usize = 8 << 10;

pub(super) struct Receiver {
    buffer: Buffer,
    /// Pieces held ahead of `next`, by their distance from it.
    holes: Assembler,
    /// The first byte that has not come in order.
    next: Seq,
    /// The first byte that the guest was not yet allowed to send.
    edge: Seq,
    /// Where the guest's FIN stands, once it was seen.
    fin: Option<Seq>,
    finished: bool,
    shift: u8,
    /// Bytes since the limit was last raised.
    passed: usize,
}

impl Receiver {
    /// `first` is the byte after the guest's SYN. `scaled`: whether the guest takes scaled windows.
    pub(super) fn new(first: Seq, scaled: bool) -> Self {
        let buffer = Buffer::new();
        let edge = first.plus(buffer.limit());
        let shift = if scaled { SHIFT } else { 0 };
        Self {
            buffer,
            holes: Assembler::new(),
            next: first,
            edge,
            fin: None,
            finished: false,
            shift,
            passed: 0,
        }
    }

    /// The first byte that has not come: what an ACK says.
    pub(super) fn next(&self) -> Seq {
        self.next
    }

    /// Whether all bytes and the FIN have come.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// How far past the window's left end a segment may begin and still be looked at.
    pub(super) fn in_window(&self, seq: Seq) -> bool {
        let offset = seq.distance(self.next);
        offset == 0 || (offset > 0 && (offset as usize) < self.edge.past(self.next))
    }

    /// The window field of the SYN-ACK, which is never scaled.
    pub(super) fn first_window(&self) -> u16 {
        u16::try_from(self.edge.past(self.next)).unwrap_or(u16::MAX)
    }

    /// The window field of a segment about to be sent, and what it promises.
    pub(super) fn announce(&mut self) -> u16 {
        let most = usize::from(u16::MAX) << self.shift;
        let window = (self.buffer.limit() - self.buffer.len()).min(most) >> self.shift << self.shift;
        self.edge = self.edge.max(self.next.plus(window));
        u16::try_from(self.edge.past(self.next) >> self.shift).unwrap_or(u16::MAX)
    }

    /// Whether so much more could be announced that the guest should hear of it at once.
    pub(super) fn window_opened(&self) -> bool {
        let limit = self.buffer.limit();
        !self.finished && limit - self.buffer.len() >= self.edge.past(self.next) + limit / 2
    }

    /// Takes a segment's bytes. `sink` takes bytes for the host and says how many it took.
    pub(super) fn accept(
        &mut self,
        seq: Seq,
        mut payload: &[u8],
        fin: bool,
        budget: &mut Budget,
        sink: impl FnOnce(&[u8]) -> usize,
    ) {
        if self.finished {
            return;
        }
        let end = seq.plus(payload.len());
        let mut start = seq;
        if start.distance(self.next) < 0 {
            payload = &payload[self.next.past(start).min(payload.len())..];
            start = self.next;
        }
        let edge = self.fin.filter(|fin| fin.distance(self.edge) < 0).unwrap_or(self.edge);
        payload = &payload[..payload.len().min(edge.past(start))];
        if fin && self.fin.is_none() && (payload.is_empty() || start.plus(payload.len()) == end) {
            // A FIN whose bytes did not all fit comes again with them.
            let fits = end.distance(self.edge) <= 0 && end.distance(self.next) >= 0;
            self.fin = fits.then_some(end);
        }
        if !payload.is_empty() {
            self.take(start, payload, budget, sink);
        }
        if self.fin == Some(self.next) {
            self.next = self.next.plus(1);
            self.edge = self.edge.max(self.next);
            self.finished = true;
        }
    }

    fn take(&mut self, start: Seq, payload: &[u8], budget: &mut Budget, sink: impl FnOnce(&[u8]) -> usize) {
        let offset = start.past(self.next);
        if offset == 0 && self.holes.is_empty() {
            let direct = if self.buffer.len() == 0 && payload.len() >= LARGE { sink(payload) } else { 0 };
            let held = self.buffer.append(&payload[direct..]);
            self.advance(direct + held);
            self.grow(budget);
            return;
        }
        // Too many holes: dropped, and sent again by the guest.
        if let Ok(contiguous) = self.holes.add_then_remove_front(offset, payload.len()) {
            self.buffer.write_ahead(offset, payload);
            self.buffer.commit(contiguous);
            self.advance(contiguous);
        }
    }

    /// Counts bytes that came in order.
    fn advance(&mut self, count: usize) {
        self.next = self.next.plus(count);
        self.passed += count;
    }

    /// Doubles the limit each time that twice as much has passed while the host kept up: then the window is
    /// what holds the guest back. Not with holes, which must stay in place.
    fn grow(&mut self, budget: &mut Budget) {
        let limit = self.buffer.limit();
        if self.passed >= 2 * limit && self.holes.is_empty() && self.buffer.len() <= limit / 2 {
            self.passed = 0;
            self.buffer.raise_limit(budget);
        }
    }

    /// The range furthest out of order, for a selective acknowledgement.
    pub(super) fn ahead(&self) -> Option<(u32, u32)> {
        let (left, right) = self.holes.iter_data().next()?;
        Some((self.next.plus(left).0, self.next.plus(right).0))
    }

    /// Bytes for the host.
    pub(super) fn held(&self) -> &[u8] {
        self.buffer.front()
    }

    /// Counts bytes of [`Self::held`] that the host took.
    pub(super) fn consume(&mut self, count: usize, budget: &mut Budget) {
        self.buffer.consume(count);
        self.grow(budget);
    }

    /// Frees memory that is not in use. The limit stays: the guest was promised the window.
    pub(super) fn trim(&mut self) {
        if self.holes.is_empty() {
            self.buffer.trim();
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
    use super::super::buffer::FIRST;
    use super::*;

    const START: Seq = Seq(u32::MAX - 100);

    fn receiver() -> (Receiver, Budget) {
        (Receiver::new(START, true), Budget::new(0))
    }

    /// A host that takes nothing.
    fn none(_: &[u8]) -> usize {
        0
    }

    #[test]
    fn a_large_segment_goes_straight_to_the_host() {
        let (mut receiver, mut budget) = receiver();
        let mut host = Vec::new();
        receiver.accept(START, &[5; LARGE], false, &mut budget, |bytes| {
            host.extend_from_slice(bytes);
            bytes.len()
        });
        assert_eq!(host, [5; LARGE]);
        assert!(!receiver.is_allocated());
        assert_eq!(receiver.next(), START.plus(LARGE));
    }

    #[test]
    fn small_segments_are_held_for_one_write() {
        let (mut receiver, mut budget) = receiver();
        for start in [0, 3] {
            receiver.accept(START.plus(start), b"abc", false, &mut budget, |_| panic!("a write of its own"));
        }
        assert_eq!(receiver.held(), b"abcabc");
    }

    #[test]
    fn what_the_host_does_not_take_is_held_and_closes_the_window() {
        let (mut receiver, mut budget) = (Receiver::new(START, false), Budget::new(0));
        receiver.accept(START, &[7; LARGE], false, &mut budget, |_| LARGE - 600);
        assert_eq!(receiver.held(), &[7; 600]);
        receiver.announce();
        receiver.accept(START.plus(LARGE), &[8; FIRST], false, &mut budget, none);
        assert_eq!(receiver.held().len(), FIRST);
        assert_eq!(receiver.announce(), 0);
        receiver.consume(FIRST, &mut budget);
        assert!(receiver.window_opened());
        assert_eq!(usize::from(receiver.announce()), FIRST);
    }

    #[test]
    fn pieces_out_of_order_are_put_together() {
        let (mut receiver, mut budget) = receiver();
        receiver.accept(START.plus(3), b"defg", true, &mut budget, none);
        assert_eq!(receiver.ahead(), Some((START.plus(3).0, START.plus(7).0)));
        assert_eq!(receiver.next(), START);
        receiver.accept(START, b"abcde", false, &mut budget, none);
        assert_eq!(receiver.held(), b"abcdefg");
        assert!(receiver.finished());
        assert_eq!(receiver.next(), START.plus(8));
    }

    #[test]
    fn repeated_and_overlapping_segments_count_once() {
        let (mut receiver, mut budget) = receiver();
        receiver.accept(START, b"abc", false, &mut budget, none);
        receiver.accept(START, b"abc", false, &mut budget, none);
        receiver.accept(START.plus(1), b"bcdef", false, &mut budget, none);
        assert_eq!(receiver.held(), b"abcdef");
    }

    #[test]
    fn bytes_beyond_the_window_are_not_taken() {
        let (mut receiver, mut budget) = receiver();
        receiver.accept(START, &[1; 2 * FIRST], true, &mut budget, none);
        assert_eq!(receiver.held().len(), FIRST);
        assert!(!receiver.finished(), "the FIN stands behind bytes that were not taken");
        receiver.accept(START.plus(FIRST), &[1; 10], false, &mut budget, none);
        assert_eq!(receiver.next(), START.plus(FIRST));
    }

    #[test]
    fn nothing_is_taken_after_the_fin() {
        let (mut receiver, mut budget) = receiver();
        receiver.accept(START, b"ab", true, &mut budget, none);
        receiver.accept(START.plus(3), b"cd", false, &mut budget, none);
        assert_eq!(receiver.held(), b"ab");
        assert_eq!(receiver.next(), START.plus(3));
    }

    #[test]
    fn the_window_grows_while_the_host_keeps_up_and_the_budget_lasts() {
        let mut budget = Budget::new(3 * FIRST);
        let mut receiver = Receiver::new(START, true);
        for _ in 0..64 {
            receiver.announce();
            receiver.accept(receiver.next(), &[0; 8192], false, &mut budget, |bytes| bytes.len());
        }
        assert_eq!(usize::from(receiver.announce()) << SHIFT, 4 * FIRST);
        receiver.release(&mut budget);
        assert_eq!(budget.used(), 0);
    }
}
