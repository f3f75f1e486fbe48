//! Puts the guest's IP fragments together (RFC 791, RFC 8200): datagrams over a container's smaller MTU. Bounded in
//! number, bytes and time; pieces that overlap spoil their packet, as RFC 5722 wants it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::wire::IpProtocol;
use tokio::time::Instant;

use super::packet::Fragment;

/// Packets that are under way at once. A new one takes the place of the oldest.
const MOST: usize = 64;
/// Pieces of one packet: the longest in those of IPv4's smallest MTU that is in use.
const MOST_PIECES: usize = 128;
/// Bytes of the longest payload.
const LONGEST: usize = u16::MAX as usize;
/// How long the pieces of one packet may take. They come over a link that loses and reorders nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// What pieces of one packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whole {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) ident: u32,
}

struct Partial {
    since: Instant,
    bytes: Vec<u8>,
    /// Begins and ends of what has come, in no order.
    pieces: Vec<(usize, usize)>,
    /// Told by the last piece.
    length: Option<usize>,
}

/// All packets that are not whole.
#[derive(Default)]
pub(super) struct Fragments(HashMap<Whole, Partial>);

impl Fragments {
    /// Takes a piece. The payload of the packet that is whole with it; `None` as long as none is.
    pub(super) fn add(&mut self, piece: &Fragment<'_>, now: Instant) -> Option<Vec<u8>> {
        let end = piece.offset + piece.payload.len();
        if end > LONGEST || piece.payload.is_empty() || (piece.more && !piece.payload.len().is_multiple_of(8))
        {
            return None;
        }
        self.0.retain(|_, partial| now < partial.since + PATIENCE);
        if !self.0.contains_key(&piece.whole) && self.0.len() >= MOST {
            let oldest = self.0.iter().min_by_key(|(_, partial)| partial.since).map(|(whole, _)| *whole);
            oldest.and_then(|whole| self.0.remove(&whole));
        }
        let partial = self.0.entry(piece.whole).or_insert_with(|| Partial::new(now));
        if !partial.take(piece, end) {
            self.0.remove(&piece.whole);
            return None;
        }
        if !partial.is_whole() {
            return None;
        }
        self.0.remove(&piece.whole).map(|partial| partial.bytes)
    }
}

impl Partial {
    fn new(since: Instant) -> Self {
        Self { since, bytes: Vec::new(), pieces: Vec::new(), length: None }
    }

    /// `false`: the packet is spoilt.
    fn take(&mut self, piece: &Fragment<'_>, end: usize) -> bool {
        let start = piece.offset;
        let overlaps = self.pieces.iter().any(|(begin, stop)| start < *stop && *begin < end);
        let beyond = self.length.is_some_and(|length| end > length);
        let short = !piece.more && self.bytes.len() > end;
        let second_last = !piece.more && self.length.is_some();
        if overlaps || beyond || short || second_last || self.pieces.len() >= MOST_PIECES {
            return false;
        }
        if !piece.more {
            self.length = Some(end);
        }
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[start..end].copy_from_slice(piece.payload);
        self.pieces.push((start, end));
        true
    }

    /// Pieces do not overlap, so their lengths say it all.
    fn is_whole(&self) -> bool {
        let come: usize = self.pieces.iter().map(|(start, end)| end - start).sum();
        self.length == Some(come)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(ident: u32, offset: usize, payload: &[u8], more: bool) -> Fragment<'_> {
        let whole = Whole {
            source: [172, 17, 0, 2].into(),
            destination: [1, 1, 1, 1].into(),
            protocol: IpProtocol::Udp,
            ident,
        };
        Fragment { whole, offset, hop_limit: 64, payload, more }
    }

    #[test]
    fn pieces_become_whole_in_any_order() {
        let mut fragments = Fragments::default();
        let now = Instant::now();
        assert_eq!(fragments.add(&piece(1, 8, b"ij", false), now), None);
        assert_eq!(fragments.add(&piece(2, 0, b"ABCDEFGH", true), now), None);
        assert_eq!(fragments.add(&piece(1, 0, b"abcdefgh", true), now).unwrap(), b"abcdefghij");
        assert_eq!(fragments.add(&piece(2, 8, b"I", false), now).unwrap(), b"ABCDEFGHI");
        assert!(fragments.0.is_empty());
    }

    #[test]
    fn pieces_that_contradict_each_other_spoil_their_packet() {
        let now = Instant::now();
        let first = piece(1, 0, b"abcdefgh", true);
        for second in [piece(1, 0, b"ABCDEFGH", true), piece(1, 0, b"abc", false)] {
            let mut fragments = Fragments::default();
            fragments.add(&first, now);
            assert_eq!(fragments.add(&second, now), None);
            assert!(fragments.0.is_empty());
        }
        let mut fragments = Fragments::default();
        fragments.add(&piece(1, 8, b"x", false), now);
        fragments.add(&piece(1, 16, b"behind the end..", true), now);
        assert!(fragments.0.is_empty());
    }

    #[test]
    fn nothing_is_kept_for_long_or_without_end() {
        let mut fragments = Fragments::default();
        let start = Instant::now();
        for ident in 0..1_000 {
            fragments
                .add(&piece(ident, 0, b"abcdefgh", true), start + Duration::from_millis(u64::from(ident)));
            assert!(fragments.0.len() <= MOST);
        }
        fragments.add(&piece(5_000, 0, b"abcdefgh", true), start + Duration::from_secs(60));
        assert_eq!(fragments.0.len(), 1);
        fragments.add(&piece(5_000, 65_528, b"abcdefgh", false), start + Duration::from_secs(60));
        assert!(fragments.0.values().all(|partial| partial.bytes.len() <= 8), "longer than a packet can be");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_pieces_break_the_table() {
        bolero::check!().with_type::<Vec<(u8, u16, Vec<u8>, bool)>>().for_each(|pieces| {
            let mut fragments = Fragments::default();
            let now = Instant::now();
            for (ident, offset, payload, more) in pieces {
                let whole = Whole {
                    source: [172, 17, 0, 2].into(),
                    destination: [1, 1, 1, 1].into(),
                    protocol: IpProtocol::Udp,
                    ident: u32::from(ident % 4),
                };
                let offset = usize::from(offset % 64) * 8;
                let whole =
                    fragments.add(&Fragment { whole, offset, hop_limit: 64, payload, more: *more }, now);
                assert!(whole.is_none_or(|bytes| bytes.len() <= LONGEST));
            }
        });
    }
}
