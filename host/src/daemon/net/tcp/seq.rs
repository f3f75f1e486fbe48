//! Sequence numbers: 32 bits that wrap, compared by their distance (RFC 9293, 3.4).

use smoltcp::wire::TcpSeqNumber;

/// A place in one direction of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seq(pub(super) u32);

impl Seq {
    /// The place `count` bytes further on.
    pub(super) fn plus(self, count: usize) -> Self {
        Self(self.0.wrapping_add(count as u32))
    }

    /// The place one byte back.
    pub(super) fn before(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    /// How far this is past `other`; negative where it is before it.
    pub(super) fn distance(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0) as i32
    }

    /// How far this is past `other`, 0 where it is not.
    pub(super) fn past(self, other: Self) -> usize {
        self.distance(other).max(0) as usize
    }

    /// The later of two.
    pub(super) fn max(self, other: Self) -> Self {
        if self.distance(other) >= 0 { self } else { other }
    }
}

impl From<TcpSeqNumber> for Seq {
    fn from(number: TcpSeqNumber) -> Self {
        Self(number.0 as u32)
    }
}

impl From<Seq> for TcpSeqNumber {
    fn from(seq: Seq) -> Self {
        Self(seq.0 as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_compared_across_the_wrap() {
        let early = Seq(u32::MAX - 1);
        let late = early.plus(5);
        assert_eq!(late, Seq(3));
        assert_eq!(late.past(early), 5);
        assert_eq!(early.past(late), 0);
        assert_eq!(early.distance(late), -5);
        assert_eq!(early.max(late), late);
        assert_eq!(Seq(0).before(), Seq(u32::MAX));
    }
}
