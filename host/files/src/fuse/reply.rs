//! Writes replies and notifications. A reply is `fuse_out_header` and a body, built in the caller's buffer, so that
//! file data is read straight to where it leaves from.

use std::time::Duration;

use crate::fuse::abi;
use crate::fuse::errno::Errno;

/// Bytes of `fuse_out_header`.
pub(crate) const HEADER: usize = 16;
/// Bytes of `fuse_entry_out`.
const ENTRY: usize = 128;
/// Bytes of `fuse_dirent` before its name.
const DIRENT: usize = 24;

/// `fuse_attr`, and how the guest is shown a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) atime: (i64, u32),
    pub(crate) mtime: (i64, u32),
    pub(crate) ctime: (i64, u32),
    pub(crate) mode: u32,
    pub(crate) links: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) rdev: u32,
    pub(crate) block_size: u32,
}

/// What a name leads to. Node 0 with `entry_valid` says for how long nothing has that name.
pub(crate) struct Entry {
    pub(crate) node: u64,
    pub(crate) entry_valid: Duration,
    pub(crate) attributes_valid: Duration,
    pub(crate) attributes: Attributes,
}

/// `fuse_kstatfs`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FileSystem {
    pub(crate) blocks: u64,
    pub(crate) free: u64,
    pub(crate) available: u64,
    pub(crate) files: u64,
    pub(crate) free_files: u64,
    pub(crate) block_size: u32,
    pub(crate) fragment_size: u32,
}

/// `fuse_init_out`.
pub(crate) struct Init {
    pub(crate) minor: u32,
    pub(crate) readahead: u32,
    pub(crate) flags: u64,
    pub(crate) background: u16,
    pub(crate) congestion: u16,
    pub(crate) max_write: u32,
    pub(crate) max_pages: u16,
    /// File systems above one another, where the kernel reads files of another one by itself.
    pub(crate) stack_depth: u32,
}

/// The body of a reply under construction; its header is put in front by [`finish`].
pub(crate) struct Body<'a>(pub(crate) &'a mut Vec<u8>);

impl<'a> Body<'a> {
    /// Begins a reply in `buffer`, whatever it held.
    pub(crate) fn new(buffer: &'a mut Vec<u8>) -> Body<'a> {
        buffer.clear();
        buffer.resize(HEADER, 0);
        Body(buffer)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len().saturating_sub(HEADER)
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn init(&mut self, init: &Init) {
        let (low, high) = (init.flags as u32, (init.flags >> 32) as u32);
        for value in [abi::MAJOR, init.minor, init.readahead, low] {
            self.u32(value);
        }
        self.u16(init.background);
        self.u16(init.congestion);
        self.u32(init.max_write);
        self.u32(1); // granularity of times, in nanoseconds
        self.u16(init.max_pages);
        self.u16(0);
        self.u32(high);
        self.u32(init.stack_depth);
        self.bytes(&[0; 24]);
    }

    pub(crate) fn entry(&mut self, entry: &Entry) {
        self.u64(entry.node);
        self.u64(0); // generation: a node's number is never given twice
        self.u64(entry.entry_valid.as_secs());
        self.u64(entry.attributes_valid.as_secs());
        self.u32(entry.entry_valid.subsec_nanos());
        self.u32(entry.attributes_valid.subsec_nanos());
        self.attributes(&entry.attributes);
    }

    pub(crate) fn attr(&mut self, valid: Duration, attributes: &Attributes) {
        self.u64(valid.as_secs());
        self.u32(valid.subsec_nanos());
        self.u32(0);
        self.attributes(attributes);
    }

    /// `backing`: the number of a file that the kernel reads by itself, or 0.
    pub(crate) fn opened(&mut self, fh: u64, flags: u32, backing: u32) {
        self.u64(fh);
        self.u32(flags);
        self.u32(backing);
    }

    pub(crate) fn statfs(&mut self, system: &FileSystem) {
        for value in [system.blocks, system.free, system.available, system.files, system.free_files] {
            self.u64(value);
        }
        for value in [system.block_size, crate::fuse::reader::LONGEST_NAME as u32, system.fragment_size] {
            self.u32(value);
        }
        self.bytes(&[0; 28]);
    }

    /// Adds an entry of a folder unless `limit` bytes of body would be exceeded; says whether it did.
    pub(crate) fn dirent(&mut self, limit: usize, dirent: &Dirent<'_>) -> bool {
        let length = DIRENT + dirent.name.len();
        let padding = length.next_multiple_of(8) - length;
        let entry = if dirent.entry.is_some() { ENTRY } else { 0 };
        if self.len() + entry + length + padding > limit {
            return false;
        }
        match dirent.entry {
            Some(Some(entry)) => self.entry(entry),
            // Node 0: the name alone, which the kernel looks up when it wants more.
            Some(None) => self.bytes(&[0; ENTRY]),
            None => {}
        }
        self.u64(dirent.ino);
        self.u64(dirent.next);
        self.u32(dirent.name.len() as u32);
        self.u32(dirent.kind);
        self.bytes(dirent.name);
        self.bytes(&[0; 7][..padding]);
        true
    }

    fn attributes(&mut self, attributes: &Attributes) {
        let times = [attributes.atime, attributes.mtime, attributes.ctime];
        for value in [attributes.ino, attributes.size, attributes.blocks] {
            self.u64(value);
        }
        for (seconds, _) in times {
            self.u64(seconds.cast_unsigned());
        }
        for (_, nanos) in times {
            self.u32(nanos);
        }
        for value in [
            attributes.mode,
            attributes.links,
            attributes.uid,
            attributes.gid,
            attributes.rdev,
            attributes.block_size,
            0,
        ] {
            self.u32(value);
        }
    }
}

/// One entry of a folder that is listed.
pub(crate) struct Dirent<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ino: u64,
    /// Where the listing goes on after this one.
    pub(crate) next: u64,
    /// `DT_*`.
    pub(crate) kind: u32,
    /// Nothing in a plain `READDIR`; in a `READDIRPLUS` the entry if it is known.
    pub(crate) entry: Option<Option<&'a Entry>>,
}

/// Bytes that [`Body::dirent`] takes for a name.
pub(crate) fn dirent_size(name: &[u8], plus: bool) -> usize {
    (DIRENT + name.len()).next_multiple_of(8) + if plus { ENTRY } else { 0 }
}

/// Writes the header of a reply whose body is complete.
pub(crate) fn finish(buffer: &mut [u8], unique: u64) {
    write_header(buffer, 0, unique);
}

/// Makes `buffer` the reply that says `errno`.
pub(crate) fn error(buffer: &mut Vec<u8>, unique: u64, errno: Errno) {
    buffer.clear();
    buffer.resize(HEADER, 0);
    write_header(buffer, -errno.0, unique);
}

fn write_header(buffer: &mut [u8], error: i32, unique: u64) {
    let length = buffer.len() as u32;
    if let Some(header) = buffer.first_chunk_mut::<HEADER>() {
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4..8].copy_from_slice(&error.to_le_bytes());
        header[8..].copy_from_slice(&unique.to_le_bytes());
    }
}

fn notification(code: i32, fill: impl FnOnce(&mut Body<'_>)) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(64);
    fill(&mut Body::new(&mut buffer));
    write_header(&mut buffer, code, 0);
    buffer
}

/// Forgets a node's attributes and, with `pages`, what was read of it.
pub(crate) fn inval_inode(node: u64, pages: bool) -> Vec<u8> {
    notification(abi::notify::INVAL_INODE, |body| {
        body.u64(node);
        // A negative offset leaves the pages alone; length 0 means to the end.
        body.u64(if pages { 0 } else { u64::MAX });
        body.u64(0);
    })
}

/// Forgets what a name leads to.
pub(crate) fn inval_entry(folder: u64, name: &[u8]) -> Vec<u8> {
    notification(abi::notify::INVAL_ENTRY, |body| {
        body.u64(folder);
        body.u32(name.len() as u32);
        body.u32(0);
        body.bytes(name);
        body.bytes(&[0]);
    })
}
