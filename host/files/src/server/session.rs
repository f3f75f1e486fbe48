//! The start and the end of a mount: what is agreed with the guest's kernel.

use std::sync::atomic::Ordering;

use super::Server;
use crate::fuse::abi::{self, init};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reply::{Body, Init};

/// Bytes of the largest write or read; 256 pages is what kernels allow unasked.
const LARGEST_TRANSFER: u32 = 1 << 20;
/// Bytes that the kernel may fetch ahead: 128 KiB, its own choice, halves the speed of reading in order.
const READ_AHEAD: u32 = 1 << 20;
/// Requests that the kernel has under way in the background, and from when on it slows writers down.
const BACKGROUND: (u16, u16) = (64, 48);

/// What we use if the kernel has it. Left out on purpose:
/// - `WRITEBACK_CACHE`: sizes and times of the host would never be seen again (see the head of `server`);
/// - `NO_OPEN_SUPPORT`: `open` is where truncation, a file's kind and the cache's truth are settled, and locks and
///   unlinked files need a descriptor;
/// - `EXPORT_SUPPORT`: lookups of `..` are never answered;
/// - `READDIRPLUS_AUTO`: attributes told with the first names alone would make the others cost a question each, and
///   those told keep for long;
/// - `DONT_MASK`, `POSIX_ACL`: the guest's kernel applies the umask; ACLs would need users that the host has;
/// - `CREATE_SUPP_GROUP`, `SECURITY_CTX`: permissions are the guest kernel's to check (`default_permissions`).
const WANTED: u64 = init::ASYNC_READ
    | init::POSIX_LOCKS
    | init::ATOMIC_O_TRUNC
    | init::BIG_WRITES
    | init::FLOCK_LOCKS
    | init::AUTO_INVAL_DATA
    | init::DO_READDIRPLUS
    | init::ASYNC_DIO
    | init::PARALLEL_DIROPS
    | init::MAX_PAGES
    | init::CACHE_SYMLINKS
    | init::NO_OPENDIR_SUPPORT
    | init::HANDLE_KILLPRIV_V2
    | init::SETXATTR_EXT
    | init::INIT_EXT;

impl Server {
    pub(super) fn init(
        &self,
        major: u32,
        minor: u32,
        readahead: u32,
        flags: u64,
        body: &mut Body<'_>,
    ) -> Outcome<()> {
        if major > abi::MAJOR {
            // It asks again in a version that we speak.
            body.u32(abi::MAJOR);
            body.u32(abi::MINOR);
            return Ok(());
        }
        if major < abi::MAJOR || minor < abi::OLDEST_MINOR || flags & init::SETXATTR_EXT == 0 {
            return Err(Errno::PROTO);
        }
        let backed = if self.is_backed() { flags & init::PASSTHROUGH } else { 0 };
        body.init(&Init {
            minor: minor.min(abi::MINOR),
            readahead: readahead.max(READ_AHEAD),
            flags: flags & WANTED | backed,
            background: BACKGROUND.0,
            congestion: BACKGROUND.1,
            max_write: LARGEST_TRANSFER,
            max_pages: (LARGEST_TRANSFER / 4096) as u16,
            // What is read lies on no other file system in its turn.
            stack_depth: u32::from(backed != 0),
        });
        self.ready.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn destroy(&self) {
        self.ready.store(false, Ordering::Release);
        self.close();
    }
}
