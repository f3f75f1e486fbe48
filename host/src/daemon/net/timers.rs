//! When each flow is to be looked at again: one entry a flow on a hashed wheel.
//!
//! Deadlines move with almost every packet, nearly always further away. So an entry stays where it is until it
//! fires, and only a deadline that comes nearer moves it; a flow that fires early is simply armed again.

use std::task::{Context, Poll};

use tokio::time::Instant;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::ready::Id;

/// A flow's entry. The flow keeps it and clears it with [`Timers::disarm`] at its end.
#[derive(Debug, Default)]
pub(super) struct Timer(Option<(Key, Instant)>);

impl Timer {
    /// Called for the flow that [`Timers::poll`] returned, before anything else.
    pub(super) fn fired(&mut self) {
        self.0 = None;
    }

    /// Whether nothing is armed.
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_none()
    }
}

/// The wheel.
#[derive(Default)]
pub(super) struct Timers(DelayQueue<Id>);

impl Timers {
    /// Looks at `id` again no later than `deadline`.
    pub(super) fn arm(&mut self, timer: &mut Timer, id: Id, deadline: Instant) {
        match &mut timer.0 {
            Some((_, armed)) if *armed <= deadline => {}
            Some((key, armed)) => {
                self.0.reset_at(key, deadline);
                *armed = deadline;
            }
            None => timer.0 = Some((self.0.insert_at(id, deadline), deadline)),
        }
    }

    /// Forgets a flow.
    pub(super) fn disarm(&mut self, timer: &mut Timer) {
        if let Some((key, _)) = timer.0.take() {
            self.0.remove(&key);
        }
    }

    /// The next flow whose time has come.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Option<Id> {
        match self.0.poll_expired(context) {
            Poll::Ready(Some(expired)) => Some(expired.into_inner()),
            Poll::Ready(None) | Poll::Pending => None,
        }
    }
}
