//! What all kinds of flows share: the way to the guest, the timers, the queue of the ready, memory, counters.

use std::sync::Arc;

use super::budget::Budget;
use super::downlink::Downlink;
use super::ready::ReadyQueue;
use super::stats::Counters;
use super::timers::Timers;

/// Owned by the one task that owns the flows.
pub(super) struct Core {
    pub(super) downlink: Downlink,
    pub(super) timers: Timers,
    pub(super) ready: ReadyQueue,
    pub(super) budget: Budget,
    pub(super) counters: Arc<Counters>,
}
