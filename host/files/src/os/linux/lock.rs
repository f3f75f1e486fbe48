//! Locks of byte ranges, real on the host: each owner in the guest has an open file description of its own, since
//! those of `F_OFD_SETLK` belong to one. Other programs of the host that use `fcntl` see them.

use std::os::fd::AsRawFd;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::File;
use crate::fuse::abi;
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::request::Range;

/// What one owner has locked of one file.
#[derive(Debug)]
pub(crate) struct RangeLocks(File);

impl RangeLocks {
    /// Locks through `file`, which nobody else may use.
    pub(crate) fn new(file: File) -> RangeLocks {
        RangeLocks(file)
    }

    /// Takes, changes or gives up; never waits: EAGAIN says that somebody else has it.
    pub(crate) fn set(&self, range: Range, kind: u32) -> Outcome<()> {
        let wanted = convert(range, kind)?;
        fcntl(self.0.descriptor().as_raw_fd(), FcntlArg::F_OFD_SETLK(&wanted))?;
        Ok(())
    }

    /// Who is in the way of such a lock: its range and kind.
    pub(crate) fn conflict(&self, range: Range, kind: u32) -> Outcome<Option<(Range, u32)>> {
        let mut found = convert(range, kind)?;
        fcntl(self.0.descriptor().as_raw_fd(), FcntlArg::F_OFD_GETLK(&mut found))?;
        let kind = match i32::from(found.l_type) {
            libc::F_RDLCK => abi::lock::READ,
            libc::F_WRLCK => abi::lock::WRITE,
            _ => return Ok(None),
        };
        let start = found.l_start.cast_unsigned();
        let end = match found.l_len {
            0 => i64::MAX.cast_unsigned(),
            length => start + length.cast_unsigned() - 1,
        };
        Ok(Some((Range { start, end }, kind)))
    }
}

fn convert(range: Range, kind: u32) -> Outcome<libc::flock> {
    let start = i64::try_from(range.start).map_err(|_| Errno::INVAL)?;
    // Length 0 means to the end, however far that moves.
    let length = match i64::try_from(range.end) {
        Ok(i64::MAX) | Err(_) => 0,
        Ok(end) if end >= start => end - start + 1,
        Ok(_) => return Err(Errno::INVAL),
    };
    let kind = match kind {
        abi::lock::READ => libc::F_RDLCK,
        abi::lock::WRITE => libc::F_WRLCK,
        abi::lock::NONE => libc::F_UNLCK,
        _ => return Err(Errno::INVAL),
    };
    Ok(libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: length,
        l_pid: 0,
    })
}
