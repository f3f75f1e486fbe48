//! A flow's bytes in one direction: smoltcp's ring, which allocates nothing until the first byte, then as
//! much as it needs, up to a limit of 16 KiB that doubles where the global budget allows it.

use smoltcp::storage::RingBuffer;

use crate::daemon::net::budget::Budget;

/// Bytes of the smallest allocation: enough for the requests of a flow that only asks.
const SMALLEST: usize = 2 << 10;
/// Bytes that every buffer may hold without asking.
pub(super) const FIRST: usize = 16 << 10;
/// Bytes of the largest buffer. Twice what the link's round trip holds at 3 GB/s.
pub(super) const LARGEST: usize = 1 << 20;

/// A ring and how large it may become.
pub(super) struct Buffer {
    ring: RingBuffer<'static, u8>,
    limit: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Self { ring: RingBuffer::new(Vec::new()), limit: FIRST }
    }

    /// Bytes that may be held.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held.
    pub(super) fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether memory is allocated.
    pub(super) fn is_allocated(&self) -> bool {
        self.ring.capacity() > 0
    }

    /// Doubles the limit where the budget has the bytes.
    pub(super) fn raise_limit(&mut self, budget: &mut Budget) {
        if self.limit < LARGEST && budget.reserve(self.limit) {
            self.limit *= 2;
        }
    }

    /// Takes the limit back to where it began, for a buffer that is empty or about to be dropped.
    pub(super) fn lower_limit(&mut self, budget: &mut Budget) {
        budget.release(self.limit - FIRST);
        self.limit = FIRST;
    }

    /// Frees the memory while nothing is in it.
    pub(super) fn trim(&mut self) {
        if self.ring.is_empty() {
            self.ring = RingBuffer::new(Vec::new());
        }
    }

    /// Makes room for `total` bytes, at most the limit. What lies beyond the held bytes is lost.
    fn grow(&mut self, total: usize) {
        if total <= self.ring.capacity() {
            return;
        }
        let mut ring = RingBuffer::new(vec![0; total.next_power_of_two().clamp(SMALLEST, LARGEST)]);
        while !self.ring.is_empty() {
            let part = self.ring.dequeue_many(usize::MAX);
            let moved = ring.enqueue_slice(part);
            debug_assert_eq!(moved, part.len(), "the new ring is larger");
        }
        self.ring = ring;
    }

    /// Appends what fits, and says how much that was.
    pub(super) fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.limit - self.len());
        self.grow(self.len() + count);
        self.ring.enqueue_slice(&bytes[..count])
    }

    /// Free bytes at the end, in one piece, for the caller to write and then [`Self::commit`]. Empty where the
    /// limit is reached.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.ring.window() == 0 && self.ring.capacity() < self.limit {
            self.grow((self.ring.capacity() * 2).max(FIRST));
        }
        let free = self.limit.saturating_sub(self.len());
        self.ring.get_unallocated(0, free)
    }

    /// Counts `count` bytes written to [`Self::space`].
    pub(super) fn commit(&mut self, count: usize) {
        self.ring.enqueue_unallocated(count);
    }

    /// Writes bytes `offset` past the end, where others will come before them. Grows to the limit at once:
    /// growing later would lose them.
    pub(super) fn write_ahead(&mut self, offset: usize, bytes: &[u8]) {
        self.grow(self.limit);
        let written = self.ring.write_unallocated(offset, bytes);
        debug_assert_eq!(written, bytes.len(), "the window ends within the limit");
    }

    /// The first bytes held, in one piece.
    pub(super) fn front(&self) -> &[u8] {
        self.ring.get_allocated(0, self.ring.len())
    }

    /// Copies bytes from `offset` on.
    pub(super) fn copy_to(&mut self, offset: usize, target: &mut [u8]) {
        let read = self.ring.read_allocated(offset, target);
        debug_assert_eq!(read, target.len(), "only held bytes are asked for");
    }

    /// Removes the first `count` bytes.
    pub(super) fn consume(&mut self, count: usize) {
        self.ring.dequeue_allocated(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_allocated_before_the_first_byte_and_nothing_after_a_trim() {
        let mut buffer = Buffer::new();
        assert!(!buffer.is_allocated());
        assert_eq!(buffer.append(b"abc"), 3);
        buffer.trim();
        assert_eq!(buffer.front(), b"abc", "a trim loses no bytes");
        buffer.consume(3);
        buffer.trim();
        assert!(!buffer.is_allocated());
    }

    #[test]
    fn it_grows_as_far_as_the_budget_allows_and_keeps_its_bytes() {
        let mut budget = Budget::new(3 * FIRST);
        let mut buffer = Buffer::new();
        let bytes: Vec<u8> = (0..8 * FIRST).map(|n| (n % 251) as u8).collect();
        let mut taken = buffer.append(&bytes);
        assert_eq!(taken, FIRST);
        for _ in 0..4 {
            buffer.raise_limit(&mut budget);
            taken += buffer.append(&bytes[taken..]);
        }
        assert_eq!((taken, buffer.limit(), budget.used()), (4 * FIRST, 4 * FIRST, 3 * FIRST));
        let mut copy = vec![0; taken];
        buffer.copy_to(0, &mut copy);
        assert_eq!(copy, bytes[..taken]);
        buffer.consume(taken);
        buffer.lower_limit(&mut budget);
        assert_eq!((buffer.limit(), budget.used()), (FIRST, 0));
    }

    #[test]
    fn space_ends_at_the_limit() {
        let mut buffer = Buffer::new();
        let mut total = 0;
        loop {
            let count = buffer.space().len();
            if count == 0 {
                break;
            }
            buffer.commit(count);
            total += count;
        }
        assert_eq!(total, FIRST);
    }
}
