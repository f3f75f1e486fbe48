//! An opened file or folder.
#![expect(unsafe_code, reason = "a reply's buffer is extended by what the kernel has written to it")]

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, FlockOperation, RawDir, SeekFrom};
use rustix::io::ReadWriteFlags;

use super::{Place, stat};
use crate::fuse::errno::{Errno, Outcome};
use crate::os::{Listed, Stat};

/// Names are fetched from the kernel by this many bytes.
const LISTING: usize = 32 << 10;

/// An open file description of the host.
#[derive(Debug)]
pub(crate) struct File(OwnedFd);

impl File {
    pub(super) fn new(descriptor: OwnedFd) -> File {
        File(descriptor)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn stat(&self) -> Outcome<Stat> {
        stat::of(&self.0)
    }

    /// What is opened, held.
    pub(crate) fn place(&self) -> Outcome<Place> {
        Place::of(&self.0)
    }

    /// Reads up to `size` bytes at `offset` to the end of `to`.
    pub(crate) fn read_at(&self, to: &mut Vec<u8>, offset: u64, size: usize) -> Outcome<()> {
        to.reserve(size);
        let mut left = size;
        while left > 0 {
            let position = offset + (size - left) as u64;
            let (read, _) = rustix::io::pread(&self.0, &mut to.spare_capacity_mut()[..left], position)?;
            let count = read.len();
            if count == 0 {
                break;
            }
            // SAFETY: `pread` has initialized the next `count` bytes, which are within the capacity.
            unsafe { to.set_len(to.len() + count) };
            left -= count;
        }
        Ok(())
    }

    /// Writes all of `data`: where the offset says, or at the file's end wherever that is by now.
    pub(crate) fn write_at(&self, data: &[u8], offset: u64, append: bool) -> Outcome<usize> {
        let mut written = 0;
        while written < data.len() {
            let rest = &data[written..];
            let result = if append {
                rustix::io::pwritev2(&self.0, &[IoSlice::new(rest)], offset, ReadWriteFlags::APPEND)
            } else {
                rustix::io::pwrite(&self.0, rest, offset + written as u64)
            };
            match result {
                Ok(0) => break,
                Ok(count) => written += count,
                // What has been written is told; the error comes with the next one.
                Err(_) if written > 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    pub(crate) fn truncate(&self, size: u64) -> Outcome<()> {
        Ok(rustix::fs::ftruncate(&self.0, size)?)
    }

    pub(crate) fn sync(&self, data_only: bool) -> Outcome<()> {
        Ok(if data_only { rustix::fs::fdatasync(&self.0) } else { rustix::fs::fsync(&self.0) }?)
    }

    pub(crate) fn sync_file_system(&self) -> Outcome<()> {
        Ok(rustix::fs::syncfs(&self.0)?)
    }

    pub(crate) fn allocate(&self, mode: u32, offset: u64, length: u64) -> Outcome<()> {
        let mode = FallocateFlags::from_bits(mode).ok_or(Errno::OPNOTSUPP)?;
        Ok(rustix::fs::fallocate(&self.0, mode, offset, length)?)
    }

    /// `SEEK_DATA` (3) or `SEEK_HOLE` (4).
    pub(crate) fn seek(&self, offset: u64, whence: u32) -> Outcome<u64> {
        let to = match whence {
            3 => SeekFrom::Data(offset),
            4 => SeekFrom::Hole(offset),
            _ => return Err(Errno::INVAL),
        };
        Ok(rustix::fs::seek(&self.0, to)?)
    }

    pub(crate) fn copy_to(&self, mut from: u64, to: &File, mut at: u64, length: usize) -> Outcome<usize> {
        Ok(rustix::fs::copy_file_range(&self.0, Some(&mut from), &to.0, Some(&mut at), length)?)
    }

    /// Takes, changes or gives up the lock of this open file; never waits.
    pub(crate) fn flock(&self, kind: u32) -> Outcome<()> {
        Ok(rustix::fs::flock(
            &self.0,
            match kind {
                crate::fuse::abi::lock::READ => FlockOperation::NonBlockingLockShared,
                crate::fuse::abi::lock::WRITE => FlockOperation::NonBlockingLockExclusive,
                _ => FlockOperation::NonBlockingUnlock,
            },
        )?)
    }

    /// Gives each entry from `offset` on, until `take` has enough.
    pub(crate) fn list(&self, offset: u64, mut take: impl FnMut(Listed<'_>) -> bool) -> Outcome<()> {
        rustix::fs::seek(&self.0, SeekFrom::Start(offset))?;
        let mut buffer = [MaybeUninit::uninit(); LISTING];
        let mut names = RawDir::new(&self.0, &mut buffer);
        while let Some(entry) = names.next() {
            let entry = entry?;
            let listed = Listed {
                name: entry.file_name().to_bytes(),
                ino: entry.ino(),
                kind: entry.file_type().as_raw_mode() >> 12,
                next: entry.next_entry_cookie(),
            };
            if !take(listed) {
                break;
            }
        }
        Ok(())
    }
}
