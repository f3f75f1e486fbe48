//! One machine a data disk: a lock on the disk itself, held by our daemon and by its child together.
//!
//! It is a flock(2): it belongs to the open file, so when the daemon is killed the lock stays with the child until
//! that has ended too, and nobody opens the disk in between. QEMU's own locks are of another kind and do not meet it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::BootError;

/// A child that any thread starts holds a copy of the lock from its fork to its exec, though it is none of ours.
const PATIENCE: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_millis(20);

/// Free when this and all copies of its descriptor in children are closed.
pub(crate) struct DiskLock(File);

impl DiskLock {
    /// Locks a disk file, or the folder that takes a disk's place. May block for a second.
    pub(crate) fn take(disk: &Path) -> Result<Self, BootError> {
        let step = |cause| BootError::Step { step: format!("lock {}", disk.display()), cause };
        let file = File::open(disk).map_err(step)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < give_up => sleep(RETRY),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(BootError::DiskInUse(disk.to_owned())),
                Err(error) => return Err(step(io::Error::from(error))),
            }
        }
    }
}

impl AsFd for DiskLock {
    /// For the child to inherit.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_in_use_is_refused_until_the_last_holder_has_closed_it() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        let first = DiskLock::take(disk.path()).unwrap();
        let inherited = first.as_fd().try_clone_to_owned().unwrap();
        assert!(matches!(DiskLock::take(disk.path()), Err(BootError::DiskInUse(_))));
        drop(first);
        assert!(matches!(DiskLock::take(disk.path()), Err(BootError::DiskInUse(_))));
        drop(inherited);
        DiskLock::take(disk.path()).unwrap();
    }

    #[test]
    fn a_folder_in_a_disks_place_is_locked_alike() {
        let folder = tempfile::tempdir().unwrap();
        let _first = DiskLock::take(folder.path()).unwrap();
        assert!(matches!(DiskLock::take(folder.path()), Err(BootError::DiskInUse(_))));
    }
}
