//! Linux: system calls relative to descriptors, through `rustix` and `nix`.

mod backing;
mod creator;
mod file;
mod lock;
mod place;
mod stat;

pub use backing::DeviceBacking;
pub(crate) use creator::as_creator;
pub(crate) use file::File;
pub(crate) use lock::RangeLocks;
pub(crate) use place::Place;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::fuse::errno::Errno;
use crate::server::owners::Owner;

/// A folder that is to be watched.
pub type Descriptor<'a> = std::os::fd::BorrowedFd<'a>;

/// The user of this process.
pub(crate) fn own() -> Owner {
    Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

/// A path of these steps.
pub(crate) fn path(steps: &[&[u8]]) -> PathBuf {
    steps.iter().map(|step| OsStr::from_bytes(step)).collect()
}

/// Descriptors that this process may have.
pub(crate) fn descriptors() -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20)
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Errno {
        Errno(errno.raw_os_error())
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(errno: nix::errno::Errno) -> Errno {
        Errno(errno as i32)
    }
}
