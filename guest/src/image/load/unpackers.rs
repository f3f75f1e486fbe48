//! Unpacks an archive's layers while the archive still comes, as many at a time as there are processors. What looks
//! like a layer is taken for one: the manifest, which would tell, is the archive's last member. What no image turns out
//! to want, the next sweep removes.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holm_api::Digest;
use tokio::sync::mpsc;

use super::LoadProgress;
use crate::image::stream::{Gauge, Outflow};
use crate::image::{Hold, Shared};

/// Between two counts of one layer's bytes, as in moby.
const PAUSE: Duration = Duration::from_millis(100);

/// A layer that is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) diff_id: Digest,
    /// Bytes of its files.
    pub(super) size: u64,
}

/// How far a layer is.
pub(super) enum Unpacking {
    /// It was there before.
    Known(Done),
    /// It is being unpacked, or was.
    Ordered(Arc<Order>),
}

/// One layer to unpack.
pub(super) struct Order {
    path: PathBuf,
    gauge: Arc<Gauge>,
    /// For the lines of progress.
    label: String,
    length: u64,
    outcome: Mutex<Option<Result<Done, Arc<io::Error>>>>,
    done: Condvar,
}

/// What all who work on one archive share.
pub(super) struct Ground<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) progress: &'a mpsc::Sender<LoadProgress>,
    holds: Mutex<Vec<Hold>>,
}

/// Orders that nobody has begun with.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Arc<Order>>,
    /// All there were, to be called off.
    given: Vec<Arc<Order>>,
    closed: bool,
}

/// Ends the work when it is dropped.
pub(super) struct Closing<'a>(pub(super) &'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        state.waiting.clear();
        // Of those that are done, nobody reads any more.
        state.given.iter().for_each(|order| order.gauge.fail());
        self.0.changed.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Ground<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, progress: &'a mpsc::Sender<LoadProgress>) -> Self {
        Self { shared, progress, holds: Mutex::default() }
    }

    /// Keeps blobs and layers from being swept until the archive is done with.
    pub(super) fn hold(&self, digests: Vec<Digest>) {
        let hold = self.shared.hold(digests);
        lock(&self.holds).push(hold);
    }

    fn unpack(&self, order: &Order) -> io::Result<Done> {
        let windows = &self.shared.windows;
        let outflow = Outflow::open(&order.path, order.gauge.clone(), None, windows)?;
        let found = outflow.found();
        // Held before it is visible: no removal takes it for a leftover.
        let name = || {
            let diff_id = *found.get().ok_or(io::ErrorKind::UnexpectedEof)?;
            self.hold(vec![diff_id]);
            Ok(diff_id)
        };
        let mut tar = Telling { outflow, order, progress: self.progress, told: Instant::now() };
        let size = self.shared.layers.unpack_as(&mut tar, &name)?;
        let diff_id = *found.get().ok_or(io::ErrorKind::UnexpectedEof)?;
        self.shared.note_size(diff_id, size);
        tell(self.progress, order, order.length);
        Ok(Done { diff_id, size })
    }
}

impl Queue {
    /// Has the file at `path` unpacked, which is or becomes `length` bytes long.
    pub(super) fn order(&self, path: PathBuf, gauge: Arc<Gauge>, label: String, length: u64) -> Arc<Order> {
        let (outcome, done) = (Mutex::default(), Condvar::new());
        let order = Arc::new(Order { path, gauge, label, length, outcome, done });
        let mut state = lock(&self.state);
        state.waiting.push_back(order.clone());
        state.given.push(order.clone());
        self.changed.notify_one();
        order
    }

    /// Works until the queue is closed.
    pub(super) fn work(&self, ground: &Ground<'_>) {
        while let Some(order) = self.next() {
            let finishing = Finishing(&order);
            let outcome = ground.unpack(&order);
            finishing.with(outcome);
        }
    }

    fn next(&self) -> Option<Arc<Order>> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            if let Some(order) = state.waiting.pop_front() {
                return Some(order);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Order {
    /// Waits for its end. The whole file must be there, so that it has one.
    pub(super) fn wait(&self) -> Result<Done, Arc<io::Error>> {
        let mut outcome = lock(&self.outcome);
        loop {
            match &*outcome {
                Some(outcome) => return outcome.clone(),
                None => outcome = self.done.wait(outcome).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Tells whoever waits that there is an end, whatever it is.
struct Finishing<'a>(&'a Order);

impl Finishing<'_> {
    fn with(self, outcome: io::Result<Done>) {
        *lock(&self.0.outcome) = Some(outcome.map_err(Arc::new));
    }
}

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        let panicked = || Err(Arc::new(io::Error::other("the layer was not unpacked")));
        lock(&self.0.outcome).get_or_insert_with(panicked);
        self.0.done.notify_all();
    }
}

/// A layer's tar that tells how far it is.
struct Telling<'a> {
    outflow: Outflow,
    order: &'a Order,
    progress: &'a mpsc::Sender<LoadProgress>,
    told: Instant,
}

impl Read for Telling<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.told.elapsed() >= PAUSE {
            self.told = Instant::now();
            tell(self.progress, self.order, self.order.gauge.read());
        }
        self.outflow.read(buffer)
    }
}

fn tell(progress: &mpsc::Sender<LoadProgress>, order: &Order, current: u64) {
    // A client that does not listen must not stop what it still sends.
    let _ = progress.try_send(LoadProgress { id: order.label.clone(), current, total: order.length });
}
