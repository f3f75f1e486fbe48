//! Reads a tar stream, entry by entry (POSIX.1-2001 pax, ustar, v7, and GNU's long names and sparse files): layers,
//! what is copied into containers, and files of saved images. [`write`] is the other direction.
//!
//! The crate `tar` is not used for this: it reads extension records of any length into memory, keeps PAX sparse
//! files as their maps, and copies what it reads once more. What comes here was made by strangers, so every
//! length has a limit before it is believed.

mod header;
mod pax;
mod sparse;
pub(crate) mod write;

use std::io::{self, BufRead, BufReader, Read};

use header::{BLOCK, Header};
use pax::Extensions;
pub(crate) use sparse::Segment;

/// Bytes of the largest long name or extended header: Go's reader has the same.
const LONGEST_EXTENSION: u64 = 1 << 20;
/// Linux' `PATH_MAX`.
const LONGEST_PATH: usize = 4096;
/// Bytes read at once. A write of this size costs little per byte, and stays in the processor's cache.
const BUFFER: usize = 256 << 10;

/// Why a stream is no tar stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It cannot be read.
    #[error(transparent)]
    Read(io::Error),
    /// It ends in the middle of something.
    #[error("unexpected EOF")]
    Truncated,
    /// It breaks the format.
    #[error("archive/tar: invalid tar header: {0}")]
    Malformed(&'static str),
}

/// What an entry makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file of `size` bytes, of which these segments are in the stream.
    File { size: u64, segments: Option<Vec<Segment>> },
    /// A directory.
    Directory,
    /// A symbolic link with this text.
    Symlink(Vec<u8>),
    /// One more name of this path.
    HardLink(Vec<u8>),
    /// A character device.
    Character { major: u32, minor: u32 },
    /// A block device.
    Block { major: u32, minor: u32 },
    /// A named pipe.
    Fifo,
}

/// One member of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As written, not yet checked.
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, setuid, setgid and sticky included.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds since 1970, and nanoseconds on top.
    pub(crate) mtime: (i64, u32),
    /// Names and values.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The stream, and where in it we are.
pub(crate) struct Archive<R> {
    input: BufReader<R>,
    /// Bytes of the current entry that were not taken yet.
    data: u64,
    /// Bytes after them, up to the next header.
    padding: u64,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input: BufReader::with_capacity(BUFFER, input), data: 0, padding: 0 }
    }

    /// The next entry, or `None` after the last. What was not read of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut long_path = None;
        let mut long_link = None;
        let mut extensions = Extensions::default();
        loop {
            self.skip(self.data + self.padding)?;
            (self.data, self.padding) = (0, 0);
            let Some(header) = self.read_header()? else {
                let dangling = long_path.is_some() || long_link.is_some() || !extensions.is_empty();
                return if dangling { Err(ArchiveError::Truncated) } else { Ok(None) };
            };
            match header.kind() {
                b'L' => long_path = Some(up_to_nul(self.read_extension(&header)?)),
                b'K' => long_link = Some(up_to_nul(self.read_extension(&header)?)),
                b'x' => extensions = Extensions::parse(&self.read_extension(&header)?)?,
                // Defaults for all that follows: neither Docker nor containerd honours them.
                b'g' => self.begin_data(header.size()?)?,
                _ => return self.begin_entry(&header, long_path, long_link, extensions).map(Some),
            }
        }
    }

    /// Some of the current entry's bytes, at most `limit`; empty at their end. [`Archive::consume`] takes them.
    pub(crate) fn chunk(&mut self, limit: u64) -> Result<&[u8], ArchiveError> {
        let limit = limit.min(self.data);
        if limit == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.fill_buf().map_err(ArchiveError::Read)?;
        if bytes.is_empty() {
            return Err(ArchiveError::Truncated);
        }
        Ok(&bytes[..bytes.len().min(usize::try_from(limit).unwrap_or(usize::MAX))])
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.input.consume(length);
        self.data -= length as u64;
    }

    /// Reads whatever follows the archive, so that the stream's end is seen.
    pub(crate) fn finish(mut self) -> Result<(), ArchiveError> {
        loop {
            match self.input.fill_buf().map_err(ArchiveError::Read)?.len() {
                0 => return Ok(()),
                length => self.input.consume(length),
            }
        }
    }

    fn begin_entry(
        &mut self,
        header: &Header,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        extensions: Extensions,
    ) -> Result<Entry, ArchiveError> {
        let mut path = extensions.path.or(long_path).unwrap_or_else(|| header.path());
        let link = extensions.link.or(long_link).unwrap_or_else(|| header.link());
        let stored = extensions.size.map_or_else(|| header.size(), Ok)?;
        let kind = match header.kind() {
            // A v7 archive has no type for directories. What is no file has no data, whatever its size says.
            b'0' | 0 | b'7' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => {
                self.begin_data(stored)?;
                if let Some(name) = extensions.sparse.name.clone() {
                    path = name;
                }
                let segments = match header.kind() {
                    b'S' => Some(sparse::read_gnu(header, || self.read_sparse_block())?),
                    _ => extensions.sparse.segments(|| self.read_map_byte())?,
                };
                let size = match (&segments, header.kind()) {
                    (None, _) => stored,
                    (Some(_), b'S') => header.sparse_size()?,
                    (Some(_), _) => extensions.sparse.size.ok_or(ArchiveError::Malformed("sparse size"))?,
                };
                if let Some(segments) = &segments {
                    sparse::check(segments, size, self.data)?;
                }
                Kind::File { size, segments }
            }
            b'1' => Kind::HardLink(link),
            b'2' => Kind::Symlink(link),
            b'3' => Kind::Character { major: header.major()?, minor: header.minor()? },
            b'4' => Kind::Block { major: header.major()?, minor: header.minor()? },
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            // A type of some vendor's. POSIX would make it a file, but Docker refuses it too.
            _ => return Err(ArchiveError::Malformed("unknown type")),
        };
        if path.len() > LONGEST_PATH {
            return Err(ArchiveError::Malformed("name too long"));
        }
        Ok(Entry {
            path,
            kind,
            mode: header.mode()? & 0o7777,
            uid: extensions.uid.map_or_else(|| header.uid(), Ok)?,
            gid: extensions.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: extensions.mtime.map_or_else(|| header.mtime().map(|seconds| (seconds, 0)), Ok)?,
            xattrs: extensions.xattrs,
        })
    }

    fn begin_data(&mut self, size: u64) -> Result<(), ArchiveError> {
        if size > i64::MAX as u64 {
            return Err(ArchiveError::Malformed("size"));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut block = [0; BLOCK];
        // Archives end with zeros, but one that merely ends is taken too, as everywhere.
        if self.input.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
            return Ok(None);
        }
        self.input.read_exact(&mut block).map_err(truncated)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Header::check(block).map(Some)
    }

    fn read_extension(&mut self, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size()?;
        if size > LONGEST_EXTENSION {
            return Err(ArchiveError::Malformed("extended header too long"));
        }
        self.begin_data(size)?;
        let mut bytes = vec![0; size as usize];
        self.input.read_exact(&mut bytes).map_err(truncated)?;
        self.data = 0;
        Ok(bytes)
    }

    /// One more block of an old GNU sparse map. Such blocks come before the data and are not part of its size.
    fn read_sparse_block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block).map_err(truncated)?;
        Ok(block)
    }

    /// One byte of a sparse map that stands in front of the data and is part of its size (PAX 1.0).
    fn read_map_byte(&mut self) -> Result<u8, ArchiveError> {
        let byte = *self.chunk(1)?.first().ok_or(ArchiveError::Truncated)?;
        self.consume(1);
        Ok(byte)
    }

    fn skip(&mut self, length: u64) -> Result<(), ArchiveError> {
        let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink()).map_err(truncated)?;
        if skipped < length { Err(ArchiveError::Truncated) } else { Ok(()) }
    }
}

/// Whether a file that begins so may be a tar: its first block is a header. One without members is all zeros, and
/// as good as anything else.
pub(crate) fn begins_archive(first: &[u8]) -> bool {
    first.first_chunk::<BLOCK>().is_some_and(|block| Header::check(*block).is_ok())
}

fn up_to_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn truncated(error: io::Error) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ArchiveError::Truncated,
        _ => ArchiveError::Read(error),
    }
}

#[cfg(test)]
mod tests;
