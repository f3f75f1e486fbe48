//! What the server says unasked: invalidations, and answers to locks that had to wait.
//!
//! An invalidation must not overtake an answer that was made from what it invalidates: the kernel would cache the
//! old for long. So it waits until all answers that were begun before it have been sent.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages that wait at most; beyond, the kernel is told to forget everything.
const LONGEST_QUEUE: usize = 1 << 16;
/// An answer that takes longer than this (a disk that hangs) holds no invalidation up: it will not be cached then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Something for the transport.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// A notification or a late reply, to be written to `/dev/fuse`. A notification may block there on what a
    /// process holds that awaits a reply, so replies must have another way.
    ToKernel(Vec<u8>),
    /// Listing this folder of the mount would fetch what the guest is about to ask for, name by name.
    ReadFolder(PathBuf),
}

#[derive(Default)]
struct State {
    queue: VecDeque<(u64, Message)>,
    answering: BTreeSet<u64>,
    next: u64,
    overflowed: bool,
    closed: bool,
}

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queue {
    /// An answer is being made from what the host's files are now.
    pub(crate) fn begin(self: &Arc<Self>) -> Answered {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.answering.insert(number);
        Answered { pending: Some((Arc::clone(self), number)) }
    }

    /// Never waits. What does not fit is made up for by [`Next::Everything`].
    pub(crate) fn push(&self, message: Message) {
        let mut state = self.lock();
        if state.closed || state.overflowed {
            return;
        }
        if state.queue.len() >= LONGEST_QUEUE {
            state.overflowed = true;
            state.queue.retain(|(_, message)| matches!(message, Message::ToKernel(bytes) if is_reply(bytes)));
        } else {
            let number = state.next;
            state.queue.push_back((number, message));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Ends [`Queue::next`].
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn next(&self) -> Next {
        let mut state = self.lock();
        let mut patience = PATIENCE;
        loop {
            if state.closed {
                return Next::Closed;
            }
            if let Some((number, _)) = state.queue.front() {
                let ready = state.answering.first().is_none_or(|oldest| oldest >= number);
                if (ready || patience.is_zero())
                    && let Some((_, message)) = state.queue.pop_front()
                {
                    return Next::Message(message);
                }
            } else if state.overflowed {
                state.overflowed = false;
                return Next::Everything;
            }
            if state.queue.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                patience = PATIENCE;
            } else {
                let started = std::time::Instant::now();
                state = self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
                patience = patience.saturating_sub(started.elapsed());
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_reply(bytes: &[u8]) -> bool {
    bytes.get(8..16).is_some_and(|unique| unique != [0; 8])
}

/// What [`Queue::next`] found.
pub(crate) enum Next {
    Message(Message),
    /// Too much has changed to say it one by one.
    Everything,
    Closed,
}

/// The server's messages; one thread takes them.
pub struct Outgoing {
    pub(crate) queue: Arc<Queue>,
    pub(crate) server: std::sync::Weak<super::Server>,
}

impl Outgoing {
    /// Waits for the next message; nothing after the server was closed.
    pub fn next(&self) -> Option<Message> {
        loop {
            match self.queue.next() {
                Next::Message(message) => return Some(message),
                Next::Everything => self.server.upgrade()?.everything_changed(),
                Next::Closed => return None,
            }
        }
    }
}

/// Held until a reply has been handed to the transport, so that no later message overtakes it.
pub struct Answered {
    pending: Option<(Arc<Queue>, u64)>,
}

impl Answered {
    /// Of a reply that nothing could invalidate.
    pub(crate) fn unordered() -> Answered {
        Answered { pending: None }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        if let Some((queue, number)) = self.pending.take() {
            queue.lock().answering.remove(&number);
            queue.changed.notify_all();
        }
    }
}
