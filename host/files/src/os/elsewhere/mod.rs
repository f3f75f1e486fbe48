//! Hosts whose file system is not served yet. Nothing can be opened, and what only comes of opening cannot exist:
//! the compiler knows that the rest is never reached.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};

use super::{Creator, Listed, OpenMode, RenameFlags, Stat, Time};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::FileSystem;
use crate::fuse::request::Range;
use crate::server::owners::Owner;

/// A folder that is to be watched, or a file that the kernel is to read.
#[cfg(unix)]
pub type Descriptor<'a> = std::os::fd::BorrowedFd<'a>;
/// A folder that is to be watched, or a file that the kernel is to read.
#[cfg(windows)]
pub type Descriptor<'a> = std::os::windows::io::BorrowedHandle<'a>;

/// A file or folder, held. There is none.
#[derive(Debug)]
pub(crate) struct Place(Infallible);

/// An opened file. There is none.
#[derive(Debug)]
pub(crate) struct File(Infallible);

/// What an owner has locked. There is none.
#[derive(Debug)]
pub(crate) struct RangeLocks(Infallible);

/// Descriptors that this process may have.
pub(crate) fn descriptors() -> u64 {
    1 << 10
}

/// The user of this process.
pub(crate) fn own() -> Owner {
    Owner { uid: u32::MAX, gid: u32::MAX }
}

/// A path of these steps.
pub(crate) fn path(steps: &[&[u8]]) -> PathBuf {
    steps.iter().map(|step| String::from_utf8_lossy(step).into_owned()).collect()
}

/// Users of the guest are none of this system's.
pub(crate) fn as_creator<T>(_: Creator, make: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    make()
}

macro_rules! never {
    ($kind:ident: $($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl $kind {
            $(pub(crate) fn $name(&self, $($argument: $type),*) -> $result {
                $(let _ = $argument;)*
                match self.0 {}
            })*
        }
    };
}

impl Place {
    pub(crate) fn open(_: &Path) -> io::Result<Place> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl RangeLocks {
    pub(crate) fn new(file: File) -> RangeLocks {
        match file.0 {}
    }
}

never! { Place:
    descriptor() -> Descriptor<'_>;
    stat() -> Outcome<Stat>;
    stat_at(name: Name<'_>) -> Outcome<Stat>;
    at(name: Name<'_>) -> Outcome<Place>;
    reopen(mode: OpenMode) -> Outcome<File>;
    reopen_folder() -> Outcome<File>;
    create_at(name: Name<'_>, mode: OpenMode, bits: u32) -> Outcome<File>;
    nameless(mode: OpenMode, bits: u32) -> Outcome<File>;
    mkdir_at(name: Name<'_>, bits: u32) -> Outcome<()>;
    mknod_at(name: Name<'_>, mode: u32, rdev: u32) -> Outcome<()>;
    symlink_at(name: Name<'_>, target: &[u8]) -> Outcome<()>;
    unlink_at(name: Name<'_>) -> Outcome<()>;
    rmdir_at(name: Name<'_>) -> Outcome<()>;
    rename_at(name: Name<'_>, to: &Place, new: Name<'_>, flags: RenameFlags) -> Outcome<()>;
    link_to(folder: &Place, name: Name<'_>) -> Outcome<()>;
    readlink() -> Outcome<Vec<u8>>;
    statfs() -> Outcome<FileSystem>;
    lists_by_cookies() -> bool;
    chmod(bits: u32) -> Outcome<()>;
    chown(uid: Option<u32>, gid: Option<u32>) -> Outcome<()>;
    set_times(accessed: Time, modified: Time) -> Outcome<()>;
    get_xattr(name: &[u8], value: &mut [u8]) -> Outcome<usize>;
    get_xattr_at(entry: Name<'_>, name: &[u8], value: &mut [u8]) -> Outcome<usize>;
    set_xattr(name: &[u8], value: &[u8], flags: u32) -> Outcome<()>;
    list_xattrs() -> Outcome<Vec<u8>>;
    remove_xattr(name: &[u8]) -> Outcome<()>;
}

never! { File:
    descriptor() -> Descriptor<'_>;
    place() -> Outcome<Place>;
    stat() -> Outcome<Stat>;
    read_at(to: &mut Vec<u8>, offset: u64, size: usize) -> Outcome<()>;
    write_at(data: &[u8], offset: u64, append: bool) -> Outcome<usize>;
    truncate(size: u64) -> Outcome<()>;
    sync(data_only: bool) -> Outcome<()>;
    sync_file_system() -> Outcome<()>;
    allocate(mode: u32, offset: u64, length: u64) -> Outcome<()>;
    seek(offset: u64, whence: u32) -> Outcome<u64>;
    copy_to(from: u64, to: &File, at: u64, length: usize) -> Outcome<usize>;
    flock(kind: u32) -> Outcome<()>;
    list(offset: u64, take: impl FnMut(Listed<'_>) -> bool) -> Outcome<()>;
}

never! { RangeLocks:
    set(range: Range, kind: u32) -> Outcome<()>;
    conflict(range: Range, kind: u32) -> Outcome<Option<(Range, u32)>>;
}

impl From<io::Error> for Errno {
    fn from(_: io::Error) -> Errno {
        Errno::IO
    }
}
