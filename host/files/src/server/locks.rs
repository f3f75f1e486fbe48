//! Locks of the guest's processes, taken on the host so that its programs see them.
//!
//! A lock that has to wait must not keep a thread: one thread tries all that wait again, when something was given up
//! here and, since the host does not say when its own programs give up, a few times a second.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::outgoing::{Message, Queue};
use super::{Answer, Server};
use crate::fuse::abi::{self, lock};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reply::{self, Body};
use crate::fuse::request::{Header, LockRequest, Range};
use crate::os::{File, OpenMode, RangeLocks};

/// Locks that wait at once.
const MOST_WAITING: usize = 1024;
/// Owners of range locks; each has a descriptor.
const MOST_OWNERS: usize = 1024;
/// How often those that wait are tried.
const AGAIN: Duration = Duration::from_millis(20);

/// What a waiting lock is taken on.
enum Target {
    Ranges(Arc<RangeLocks>, Range),
    Whole(Arc<File>),
}

impl Target {
    fn try_lock(&self, kind: u32) -> Outcome<()> {
        match self {
            Target::Ranges(locks, range) => locks.set(*range, kind),
            Target::Whole(file) => file.flock(kind),
        }
    }
}

struct Waiting {
    unique: u64,
    target: Target,
    kind: u32,
}

struct Owned {
    locks: Arc<RangeLocks>,
    /// The open file by which the owner locked first.
    fh: u64,
    writes: bool,
}

#[derive(Default)]
struct State {
    /// By node and owner.
    owned: HashMap<(u64, u64), Owned>,
    waiting: Vec<Waiting>,
    /// Whether somebody tries them.
    running: bool,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    woken: Condvar,
    queue: Arc<Queue>,
}

/// The locks of one share.
pub(super) struct Locks(Arc<Shared>);

impl Locks {
    pub(super) fn new(queue: Arc<Queue>) -> Locks {
        Locks(Arc::new(Shared { state: Mutex::default(), woken: Condvar::new(), queue }))
    }

    /// All that an owner has of a node.
    pub(super) fn release_owner(&self, node: u64, owner: u64) {
        let released = self.0.lock().owned.remove(&(node, owner));
        self.after_release(released.is_some());
    }

    /// All that was locked through an open file whose closing was not told.
    pub(super) fn release_handle(&self, node: u64, fh: u64) {
        let mut state = self.0.lock();
        if state.owned.is_empty() {
            return;
        }
        let before = state.owned.len();
        state.owned.retain(|(other, _), owned| *other != node || owned.fh != fh);
        let some = state.owned.len() < before;
        drop(state);
        self.after_release(some);
    }

    pub(super) fn forget(&self, node: u64) {
        let mut state = self.0.lock();
        if !state.owned.is_empty() {
            state.owned.retain(|(other, _), _| *other != node);
        }
    }

    /// Tries again what waits.
    pub(super) fn retry(&self) {
        self.0.woken.notify_all();
    }

    fn after_release(&self, some: bool) {
        if some {
            self.retry();
        }
    }

    /// The process that waits got a signal.
    pub(super) fn interrupt(&self, unique: u64) {
        let mut state = self.0.lock();
        let Some(index) = state.waiting.iter().position(|waiting| waiting.unique == unique) else { return };
        state.waiting.swap_remove(index);
        drop(state);
        self.0.answer(unique, Err(Errno::INTR));
    }

    pub(super) fn close(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting {
            self.0.answer(waiting.unique, Err(Errno::INTR));
        }
        self.0.woken.notify_all();
    }

    fn wait(&self, waiting: Waiting) -> Outcome<()> {
        let mut state = self.0.lock();
        if state.closed || state.waiting.len() >= MOST_WAITING {
            return Err(Errno::NOLCK);
        }
        state.waiting.push(waiting);
        if !state.running {
            let shared = Arc::downgrade(&self.0);
            std::thread::Builder::new()
                .name("file-locks".to_owned())
                .spawn(move || Shared::serve(&shared))
                .map_err(|_| Errno::NOLCK)?;
            state.running = true;
        }
        Ok(())
    }
}

impl Shared {
    /// Runs while something waits.
    fn serve(shared: &Weak<Shared>) {
        while let Some(shared) = shared.upgrade() {
            let mut state = shared.lock();
            let mut settled = Vec::new();
            state.waiting.retain(|waiting| match waiting.target.try_lock(waiting.kind) {
                Err(Errno::AGAIN | Errno::ACCES) => true,
                outcome => {
                    settled.push((waiting.unique, outcome));
                    false
                }
            });
            if state.waiting.is_empty() || state.closed {
                state.running = false;
            }
            let running = state.running;
            if running && settled.is_empty() {
                drop(shared.woken.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner));
            } else {
                drop(state);
            }
            for (unique, outcome) in settled {
                shared.answer(unique, outcome);
            }
            if !running {
                return;
            }
        }
    }

    fn answer(&self, unique: u64, outcome: Outcome<()>) {
        let mut late = Vec::new();
        match outcome {
            Ok(()) => {
                Body::new(&mut late);
                reply::finish(&mut late, unique);
            }
            Err(errno) => reply::error(&mut late, unique, errno),
        }
        self.queue.push(Message::ToKernel(late));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    pub(super) fn set_lock(&self, header: &Header, request: &LockRequest, wait: bool) -> Outcome<Answer> {
        let handle = self.handles.get(request.fh, header.node)?;
        if !matches!(request.kind, lock::READ | lock::WRITE | lock::NONE) {
            return Err(Errno::INVAL);
        }
        let target = if request.flags & abi::LK_FLOCK != 0 {
            Target::Whole(Arc::clone(&handle.file))
        } else {
            let writes = request.kind == lock::WRITE;
            if request.kind == lock::NONE && !self.has_locks(header.node, request.owner) {
                return Ok(Answer::Reply);
            }
            Target::Ranges(self.range_locks(header.node, request, writes)?, request.range)
        };
        match target.try_lock(request.kind) {
            Err(Errno::AGAIN | Errno::ACCES) if wait => {
                self.locks.wait(Waiting { unique: header.unique, target, kind: request.kind })?;
                Ok(Answer::None)
            }
            Err(Errno::ACCES) => Err(Errno::AGAIN),
            outcome => {
                // Giving up, and changing from writing to reading, may let others in.
                self.locks.retry();
                outcome.map(|()| Answer::Reply)
            }
        }
    }

    pub(super) fn get_lock(&self, node: u64, request: &LockRequest, body: &mut Body<'_>) -> Outcome<()> {
        self.handles.get(request.fh, node)?;
        let locks = self.range_locks(node, request, request.kind == lock::WRITE)?;
        let (range, kind) =
            locks.conflict(request.range, request.kind)?.unwrap_or((request.range, lock::NONE));
        body.u64(range.start);
        body.u64(range.end);
        body.u32(kind);
        // Whose it is cannot be told: owners here are files, and the host's processes are none of the guest's.
        body.u32(0);
        Ok(())
    }

    fn has_locks(&self, node: u64, owner: u64) -> bool {
        self.locks.0.lock().owned.contains_key(&(node, owner))
    }

    /// The owner's own open file of the node, opened when it locks for the first time.
    fn range_locks(&self, node: u64, request: &LockRequest, writes: bool) -> Outcome<Arc<RangeLocks>> {
        let key = (node, request.owner);
        if let Some(owned) = self.locks.0.lock().owned.get(&key)
            && (owned.writes || !writes)
        {
            return Ok(Arc::clone(&owned.locks));
        }
        let place = self.handles.get(request.fh, node)?.file.place()?;
        // For both if we may, so that a lock for reading can become one for writing later.
        let both = OpenMode { read: true, write: true, truncate: false };
        let (file, writes) = match place.reopen(both) {
            Ok(file) => (file, true),
            Err(_) if !writes => (place.reopen(OpenMode { write: false, ..both })?, false),
            Err(errno) => return Err(errno),
        };
        let locks = Arc::new(RangeLocks::new(file));
        let mut state = self.locks.0.lock();
        if state.owned.len() >= MOST_OWNERS {
            return Err(Errno::NOLCK);
        }
        let owned = Owned { locks: Arc::clone(&locks), fh: request.fh, writes };
        Ok(Arc::clone(&state.owned.entry(key).or_insert(owned).locks))
    }
}
