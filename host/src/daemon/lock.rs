//! One daemon a home: whoever holds the lock on `run/daemon.lock` is it. The system lets go of the lock when the
//! process ends, however it ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// The lock; dropping it lets the next daemon in.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

impl Lock {
    /// `None` where another daemon holds it.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }

    /// Whether a daemon lives. A moment's truth.
    pub(super) fn is_held(path: &Path) -> bool {
        matches!(Self::take(path), Ok(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_daemon_is_turned_away_until_the_first_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.lock");
        let first = Lock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::take(&path).unwrap().is_none());
        assert!(Lock::is_held(&path));
        drop(first);
        assert!(!Lock::is_held(&path));
    }
}
