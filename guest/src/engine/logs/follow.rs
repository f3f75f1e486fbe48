//! Waits until a log may have grown, by inotify(7), or the container has ended.
#![expect(unsafe_code, reason = "AsyncFd::register asks its caller to vouch for the descriptor")]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::engine::records::Status;

/// Room for some dozens of events; what they say does not matter.
const EVENTS: usize = 4096;

/// Changes in a log's folder.
pub(super) struct Changes {
    inotify: AsyncFd<OwnedFd>,
    status: watch::Receiver<Status>,
    until: Option<Instant>,
    over: bool,
}

impl Changes {
    /// Watches the folder of `path`, not the file: rotation replaces the file.
    pub(super) fn watch(
        path: &Path,
        status: watch::Receiver<Status>,
        until: Option<Instant>,
    ) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        inotify::add_watch(&inotify, folder, WatchFlags::MODIFY | WatchFlags::MOVED_TO | WatchFlags::CREATE)?;
        // SAFETY: an `OwnedFd` names one open file for as long as it lives, and the `AsyncFd` owns it.
        let inotify = unsafe { AsyncFd::register(inotify) }?;
        Ok(Self { inotify, status, until, over: false })
    }

    /// Whether there may be more after what is read now. Asked before reading: what was written before the
    /// exit is in the file by then, so after one more reading there is nothing left.
    pub(super) fn may_grow(&self) -> bool {
        !self.over && self.status.borrow().life.pid().is_some()
    }

    /// Returns when something changed.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        let end = self.until;
        tokio::select! {
            ready = self.inotify.readable() => {
                let mut ready = ready?;
                let mut buffer = [MaybeUninit::uninit(); EVENTS];
                // One reading takes what is there; events that are left wake us again.
                let read = inotify::Reader::new(self.inotify.get_ref(), &mut buffer).next().map(drop);
                match read {
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    other => other?,
                }
            }
            // An error says that the container is gone, which is an end as well.
            changed = self.status.changed() => self.over |= changed.is_err(),
            () = wait_until(end) => self.over = true,
        }
        Ok(())
    }
}

async fn wait_until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
