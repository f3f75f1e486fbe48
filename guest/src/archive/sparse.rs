//! Maps of sparse files, in the four ways in which GNU tar has written them.

use super::ArchiveError;
use super::header::{BLOCK, Header, number};
use super::pax::decimal;

/// Most segments of one file. A map this long is 16 MiB in memory.
const MOST_SEGMENTS: usize = 1 << 20;

/// Bytes of a file that are not a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Where in the file.
    pub(crate) offset: u64,
    /// How many.
    pub(crate) length: u64,
}

/// Segments come in order, lie within the file, and are all that is in the stream.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), ArchiveError> {
    let wrong = ArchiveError::Malformed("sparse map");
    let (mut end, mut sum) = (0_u64, 0_u64);
    for segment in segments {
        if segment.offset < end {
            return Err(wrong);
        }
        let next = segment.offset.checked_add(segment.length);
        let Some(next) = next.filter(|next| *next <= size) else { return Err(wrong) };
        // No overflow: the segments do not overlap and end at `size`.
        (end, sum) = (next, sum + segment.length);
    }
    if sum == stored { Ok(()) } else { Err(wrong) }
}

/// Old GNU: four places in the header, then blocks of 21.
pub(super) fn read_gnu(
    header: &Header,
    mut next_block: impl FnMut() -> Result<[u8; BLOCK], ArchiveError>,
) -> Result<Vec<Segment>, ArchiveError> {
    let mut segments = Vec::new();
    let (places, mut more) = header.sparse_map();
    take_places(places, &mut segments)?;
    while more {
        let block = next_block()?;
        take_places(&block[..504], &mut segments)?;
        more = block[504] != 0;
    }
    Ok(segments)
}

fn take_places(places: &[u8], segments: &mut Vec<Segment>) -> Result<(), ArchiveError> {
    for place in places.chunks_exact(24) {
        // Places that are not used are empty.
        if place[0] == 0 || place[12] == 0 {
            break;
        }
        let field = |bytes| number(bytes)?.try_into().map_err(|_| ArchiveError::Malformed("sparse map"));
        push(segments, Segment { offset: field(&place[..12])?, length: field(&place[12..])? })?;
    }
    Ok(())
}

fn push(segments: &mut Vec<Segment>, segment: Segment) -> Result<(), ArchiveError> {
    if segments.len() == MOST_SEGMENTS {
        return Err(ArchiveError::Malformed("sparse map too long"));
    }
    segments.push(segment);
    Ok(())
}

/// What `GNU.sparse.*` records say: versions 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    /// The file's own name; the header has a made-up one.
    pub(super) name: Option<Vec<u8>>,
    /// The file's size with its holes.
    pub(super) size: Option<u64>,
    /// Numbers of the map, offsets and lengths in turn (0.0 and 0.1).
    numbers: Option<Vec<u64>>,
    /// The map stands in front of the data (1.0).
    in_data: bool,
}

impl PaxSparse {
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(decimal(value)?),
            b"major" => self.in_data = decimal::<u32>(value)? == 1,
            b"map" => {
                let numbers: Result<_, _> = value.split(|byte| *byte == b',').map(decimal).collect();
                self.numbers = Some(numbers?);
            }
            b"offset" | b"numbytes" => self.numbers.get_or_insert_default().push(decimal(value)?),
            _ => {}
        }
        Ok(())
    }

    /// The map, if the file is sparse.
    pub(super) fn segments(
        &self,
        mut next_byte: impl FnMut() -> Result<u8, ArchiveError>,
    ) -> Result<Option<Vec<Segment>>, ArchiveError> {
        let wrong = || ArchiveError::Malformed("sparse map");
        let mut segments = Vec::new();
        if self.in_data {
            let mut read = 0;
            let mut line = || -> Result<u64, ArchiveError> {
                let mut digits = Vec::new();
                loop {
                    read += 1;
                    match next_byte()? {
                        b'\n' => return decimal(&digits),
                        _ if digits.len() == 20 => return Err(wrong()),
                        digit => digits.push(digit),
                    }
                }
            };
            for _ in 0..line()? {
                push(&mut segments, Segment { offset: line()?, length: line()? })?;
            }
            for _ in read..usize::next_multiple_of(read, BLOCK) {
                next_byte()?;
            }
            return Ok(Some(segments));
        }
        let Some(numbers) = &self.numbers else { return Ok(None) };
        let (pairs, rest) = numbers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(wrong());
        }
        for [offset, length] in pairs {
            push(&mut segments, Segment { offset: *offset, length: *length })?;
        }
        Ok(Some(segments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_that_overlap_or_leave_the_file_are_refused() {
        let segment = |offset, length| Segment { offset, length };
        check(&[segment(0, 2), segment(4, 2)], 8, 4).unwrap();
        assert!(check(&[segment(0, 3), segment(2, 2)], 8, 5).is_err());
        assert!(check(&[segment(7, 2)], 8, 2).is_err());
        assert!(check(&[segment(u64::MAX, 2)], 8, 2).is_err());
        assert!(check(&[segment(0, 2)], 8, 3).is_err());
    }
}
