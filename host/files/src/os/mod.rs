//! What the server needs of the host's file system, one folder a system with the same types: a [`Place`] is a file or
//! folder held without being opened, a [`File`] an opened one. Names are single steps down; nothing follows a
//! symbolic link, so nothing leaves the share.
//!
//! Where names ignore case, `a` and `A` are two names of one node, found by its key: what is listed is the spelling of
//! the host's, a rename from one to the other changes that, and creating `A` beside `a` answers EEXIST. A change is
//! announced by one spelling, so such a host must say of no folder that it is watched: the guest's kernel would believe
//! the other spelling, or that there is none, for long. ACLs name users of the host, which the guest does not have:
//! `system.posix_acl_*` is neither listed nor read nor set (EOPNOTSUPP), and what they allow or refuse beyond the mode
//! is the host's to decide when it is asked.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;
#[cfg(target_os = "linux")]
pub use linux::{Descriptor, DeviceBacking};

// macOS: openat with O_NOFOLLOW_ANY, getattrlistbulk, F_OFD_SETLK, and xattrs by descriptor would go here.
// Windows: NtCreateFile relative to a handle with FILE_OPEN_REPARSE_POINT, file ids for inodes.
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
pub use elsewhere::Descriptor;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::*;

use crate::fuse::reply::Attributes;

/// Which file it is, for as long as it exists: an inode number is given again, a time of birth is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) device: u64,
    pub(crate) ino: u64,
    pub(crate) born: (i64, u32),
}

/// A file's identity and attributes, as the host has them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) key: Key,
    pub(crate) attributes: Attributes,
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenMode {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
}

/// A time to set.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "read where there are files"))]
pub(crate) enum Time {
    Keep,
    Now,
    At(i64, u32),
}

/// What a listing of a folder gives for one name.
pub(crate) struct Listed<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) ino: u64,
    /// `DT_*`.
    pub(crate) kind: u32,
    pub(crate) next: u64,
}

/// How a rename may differ from the plain one; what `renameat2` calls its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenameFlags(pub(crate) u32);

impl RenameFlags {
    pub(crate) const EXCHANGE: u32 = 2;
    /// NOREPLACE, EXCHANGE, WHITEOUT.
    pub(crate) const KNOWN: u32 = 7;
}

/// Whose a new file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Creator {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}
