//! Making a mounted ext4 file system larger.
#![expect(unsafe_code, reason = "EXT4_IOC_RESIZE_FS has no safe wrapper")]

use std::io;
use std::os::fd::BorrowedFd;

use rustix::ioctl::{Setter, ioctl, opcode};

/// `_IOW('f', 16, __u64)`, fs/ext4/ext4.h.
const EXT4_IOC_RESIZE_FS: rustix::ioctl::Opcode = opcode::write::<u64>(b'f', 16);

/// Grows the ext4 file system that `root` is a folder of to this many of its blocks. On line: it is in use and
/// stays so, and a power loss leaves it at the old size or the new.
pub(super) fn resize(root: BorrowedFd<'_>, blocks: u64) -> io::Result<()> {
    // SAFETY: the request reads one u64, which is what is passed.
    let request = unsafe { Setter::<EXT4_IOC_RESIZE_FS, u64>::new(blocks) };
    // SAFETY: as above; the descriptor is borrowed for the length of the call.
    Ok(unsafe { ioctl(root, request) }?)
}
