//! Which flows have something to do. Each flow polls its host sockets with a waker of its own, which puts the
//! flow's id on one queue and wakes the task that owns them all; so a wake-up costs the same with five flows
//! and with five thousand.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

use super::ping::PingKey;
use super::tcp::FlowKey;

/// Names one thing that can become ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// A TCP flow.
    Tcp(FlowKey),
    /// The host socket of a guest's UDP address and port.
    Udp(SocketAddr),
    /// A published UDP port.
    Published(u64),
    /// A ping socket.
    Ping(PingKey),
}

/// The ids that were woken and not yet taken.
#[derive(Clone, Default)]
pub(super) struct ReadyQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// Bounded by the number of flows: a flow is on it at most once.
    queue: Mutex<VecDeque<Id>>,
    task: AtomicWaker,
}

/// Wakes one flow.
pub(super) struct FlowWaker {
    id: Id,
    queued: AtomicBool,
    shared: Arc<Shared>,
}

impl ReadyQueue {
    /// The waker of a new flow.
    pub(super) fn waker(&self, id: Id) -> Arc<FlowWaker> {
        Arc::new(FlowWaker { id, queued: AtomicBool::new(false), shared: Arc::clone(&self.0) })
    }

    /// Says which task is to be woken. Before anything is taken, or a wake-up between the two is lost.
    pub(super) fn register(&self, task: &Waker) {
        self.0.task.register(task);
    }

    /// The next flow. Its [`FlowWaker::taken`] must be called before its sockets are polled.
    pub(super) fn pop(&self) -> Option<Id> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl FlowWaker {
    /// From now on the flow can be queued again.
    pub(super) fn taken(&self) {
        self.queued.store(false, Ordering::Release);
    }

    /// Queues the flow without waking the task: for the task itself, which looks at the queue before it rests.
    pub(super) fn requeue(&self) {
        self.queue();
    }

    /// Whether it was not queued before.
    fn queue(&self) -> bool {
        let first = !self.queued.swap(true, Ordering::AcqRel);
        if first {
            self.shared.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.id);
        }
        first
    }
}

impl Wake for FlowWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queue() {
            self.shared.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_woken_twice_is_queued_once_until_it_is_taken() {
        let ready = ReadyQueue::default();
        let id = Id::Udp("172.17.0.2:53".parse().unwrap());
        let flow = ready.waker(id);
        let waker = Waker::from(Arc::clone(&flow));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(ready.pop(), Some(id));
        assert_eq!(ready.pop(), None);
        flow.taken();
        waker.wake();
        assert_eq!(ready.pop(), Some(id));
    }
}
