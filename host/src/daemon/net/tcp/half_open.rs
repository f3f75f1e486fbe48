//! The flows that are not established yet, oldest first: how a SYN flood is kept from costing more than a
//! fixed number of the host's connects.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::FlowKey;

/// How long a half-open flow is left alone. Whatever is going to answer mostly does so within this; under a
/// flood, real flows still get through, and the host dials at most a table full in this time.
const GRACE: Duration = Duration::from_secs(1);

/// Names an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(u64);

/// What a new half-open flow finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Room.
    Free,
    /// Room, once this one is ended.
    InsteadOf(FlowKey),
    /// None.
    Full,
}

/// The half-open flows.
pub(super) struct HalfOpen {
    entries: BTreeMap<Ticket, (FlowKey, Instant)>,
    next: u64,
    most: usize,
}

impl HalfOpen {
    /// At most `most` at once.
    pub(super) fn new(most: usize) -> Self {
        Self { entries: BTreeMap::new(), next: 0, most }
    }

    /// Whether one more may come.
    pub(super) fn place(&self, now: Instant) -> Place {
        if self.entries.len() < self.most {
            return Place::Free;
        }
        match self.entries.first_key_value() {
            Some((_, (key, since))) if *since + GRACE <= now => Place::InsteadOf(*key),
            _ => Place::Full,
        }
    }

    /// Enters a flow.
    pub(super) fn add(&mut self, key: FlowKey, now: Instant) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.entries.insert(ticket, (key, now));
        ticket
    }

    /// Removes a flow that is established or gone.
    pub(super) fn remove(&mut self, ticket: Ticket) {
        self.entries.remove(&ticket);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(port: u16) -> FlowKey {
        FlowKey { guest: ([172, 17, 0, 2], port).into(), far: ([1, 1, 1, 1], 80).into() }
    }

    #[test]
    fn a_full_table_gives_the_oldest_place_away_but_not_at_once() {
        let mut table = HalfOpen::new(2);
        let start = Instant::now();
        table.add(key(1), start);
        let second = table.add(key(2), start);
        assert_eq!(table.place(start), Place::Full);
        assert_eq!(table.place(start + GRACE), Place::InsteadOf(key(1)));
        table.remove(second);
        assert_eq!(table.place(start), Place::Free);
        assert_eq!(table.len(), 1);
    }
}
