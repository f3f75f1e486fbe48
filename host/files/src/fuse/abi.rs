//! Numbers of the Linux FUSE ABI, version 7.38 (Linux 6.2; `include/uapi/linux/fuse.h`), as far as they are used.

/// Major version; a kernel of another one is told ours and asks again.
pub(crate) const MAJOR: u32 = 7;
/// Minor version that we answer at most.
pub(crate) const MINOR: u32 = 38;
/// Below it the structures are shorter: 7.31 is Linux 5.4.
pub(crate) const OLDEST_MINOR: u32 = 31;
/// The node that is the share itself.
pub(crate) const ROOT: u64 = 1;

/// What is negotiated by `INIT`; the upper half travels in `flags2`.
pub(crate) mod init {
    pub(crate) const ASYNC_READ: u64 = 1;
    pub(crate) const POSIX_LOCKS: u64 = 1 << 1;
    pub(crate) const ATOMIC_O_TRUNC: u64 = 1 << 3;
    pub(crate) const BIG_WRITES: u64 = 1 << 5;
    pub(crate) const FLOCK_LOCKS: u64 = 1 << 10;
    pub(crate) const AUTO_INVAL_DATA: u64 = 1 << 12;
    pub(crate) const DO_READDIRPLUS: u64 = 1 << 13;
    pub(crate) const ASYNC_DIO: u64 = 1 << 15;
    pub(crate) const PARALLEL_DIROPS: u64 = 1 << 18;
    pub(crate) const MAX_PAGES: u64 = 1 << 22;
    pub(crate) const CACHE_SYMLINKS: u64 = 1 << 23;
    pub(crate) const NO_OPENDIR_SUPPORT: u64 = 1 << 24;
    pub(crate) const HANDLE_KILLPRIV_V2: u64 = 1 << 28;
    pub(crate) const SETXATTR_EXT: u64 = 1 << 29;
    pub(crate) const INIT_EXT: u64 = 1 << 30;
    /// Linux 6.9.
    pub(crate) const PASSTHROUGH: u64 = 1 << 37;
}

/// `fuse_setattr_in.valid`.
pub(crate) mod setattr {
    pub(crate) const MODE: u32 = 1;
    pub(crate) const UID: u32 = 1 << 1;
    pub(crate) const GID: u32 = 1 << 2;
    pub(crate) const SIZE: u32 = 1 << 3;
    pub(crate) const ATIME: u32 = 1 << 4;
    pub(crate) const MTIME: u32 = 1 << 5;
    pub(crate) const FH: u32 = 1 << 6;
    pub(crate) const ATIME_NOW: u32 = 1 << 7;
    pub(crate) const MTIME_NOW: u32 = 1 << 8;
    pub(crate) const KILL_SUIDGID: u32 = 1 << 11;
}

/// Flags of the answer to `OPEN`, `OPENDIR` and `CREATE`.
pub(crate) mod fopen {
    pub(crate) const DIRECT_IO: u32 = 1;
    pub(crate) const KEEP_CACHE: u32 = 1 << 1;
    pub(crate) const CACHE_DIR: u32 = 1 << 3;
    pub(crate) const NOFLUSH: u32 = 1 << 5;
    pub(crate) const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
    pub(crate) const PASSTHROUGH: u32 = 1 << 7;
}

pub(crate) const GETATTR_FH: u32 = 1;
pub(crate) const LK_FLOCK: u32 = 1;
pub(crate) const RELEASE_FLUSH: u32 = 1;
pub(crate) const RELEASE_FLOCK_UNLOCK: u32 = 1 << 1;
pub(crate) const WRITE_KILL_SUIDGID: u32 = 1 << 2;
pub(crate) const OPEN_KILL_SUIDGID: u32 = 1;
pub(crate) const FSYNC_DATA: u32 = 1;
/// `W_OK`.
pub(crate) const ACCESS_WRITE: u32 = 2;

/// Types of a lock in `fuse_file_lock`.
pub(crate) mod lock {
    pub(crate) const READ: u32 = 0;
    pub(crate) const WRITE: u32 = 1;
    pub(crate) const NONE: u32 = 2;
}

/// Kinds of files in a mode.
pub(crate) mod mode {
    pub(crate) const KIND: u32 = 0o170000;
    pub(crate) const FOLDER: u32 = 0o040000;
    pub(crate) const FILE: u32 = 0o100000;
    pub(crate) const LINK: u32 = 0o120000;
    pub(crate) const SETUID: u32 = 0o4000;
    pub(crate) const SETGID: u32 = 0o2000;
    pub(crate) const GROUP_EXECUTES: u32 = 0o010;
}

/// Flags of `open(2)` as Linux numbers them on x86 (arm64 swaps four of them: see [`super::request`]).
pub(crate) mod open {
    pub(crate) const ACCESS: u32 = 0o3;
    pub(crate) const WRITE: u32 = 0o1;
    pub(crate) const BOTH: u32 = 0o2;
    pub(crate) const EXCLUSIVE: u32 = 0o200;
    pub(crate) const TRUNCATE: u32 = 0o1000;
    pub(crate) const APPEND: u32 = 0o2000;
}

/// Codes of notifications, in the place of an error.
pub(crate) mod notify {
    pub(crate) const INVAL_INODE: i32 = 2;
    pub(crate) const INVAL_ENTRY: i32 = 3;
}
