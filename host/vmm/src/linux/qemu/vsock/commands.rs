//! What other threads ask of the thread that moves bytes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError, mpsc};

use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::oneshot;

use super::ended;
use crate::Port;

/// One thing to do.
pub(super) enum Command {
    /// Open a stream to the guest; `answer` tells whether the guest took it. Whoever drops the other end of `stream`
    /// gives it up.
    Dial { port: Port, stream: UnixStream, answer: oneshot::Sender<bool> },
    /// Offer the guest's streams to a port; `answer` tells whether the port was free.
    Listen { port: Port, offer: tokio::sync::mpsc::Sender<UnixStream>, answer: mpsc::Sender<bool> },
    /// Stop offering, if nobody else has the port by now.
    Forget { port: Port },
}

/// A queue with a bell.
pub(super) struct Commands {
    /// `None` once the device has ended.
    waiting: Mutex<Option<VecDeque<Command>>>,
    bell: OwnedFd,
}

impl Commands {
    pub(super) fn new() -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { waiting: Mutex::new(Some(VecDeque::new())), bell })
    }

    pub(super) fn send(&self, command: Command) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.as_mut().ok_or_else(ended)?.push_back(command);
        drop(waiting);
        self.ring();
        Ok(())
    }

    pub(super) fn take(&self) -> Option<Command> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.pop_front()
    }

    /// Drops all that wait, and with them their answers.
    pub(super) fn close(&self) {
        *self.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// Has the thread look again.
    pub(super) fn ring(&self) {
        // EAGAIN: the counter is full, so the bell rings already.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Commands {
    /// The bell: becomes readable with each ring, and is never read; it is watched for edges.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
