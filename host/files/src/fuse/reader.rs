//! Takes little-endian numbers and NUL-terminated names off a request. What is too short is a refusal, never a panic.

use crate::fuse::errno::{Errno, Outcome};

/// Longest name of Linux, in bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// Longest target of a symbolic link, its NUL left out.
pub(crate) const LONGEST_TARGET: usize = 4095;

/// What is left of a request.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn u16(&mut self) -> Outcome<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Outcome<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Outcome<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Outcome<()> {
        self.bytes(count).map(drop)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Everything up to the next NUL, which is taken too.
    pub(crate) fn text(&mut self) -> Outcome<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// The name of one entry of a folder: never a path, and never a way up.
    pub(crate) fn name(&mut self) -> Outcome<Name<'a>> {
        Name::new(self.text()?)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }
}

/// The name of an entry: 1 to 255 bytes, no `/`, no NUL, neither `.` nor `..`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Refuses what is not one step down.
    pub(crate) fn new(bytes: &'a [u8]) -> Outcome<Name<'a>> {
        match bytes {
            _ if bytes.len() > LONGEST_NAME => Err(Errno::NAMETOOLONG),
            b"" | b"." | b".." => Err(Errno::INVAL),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => Err(Errno::INVAL),
            _ => Ok(Name(bytes)),
        }
    }

    pub(crate) fn bytes(self) -> &'a [u8] {
        self.0
    }
}
