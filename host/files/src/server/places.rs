//! Descriptors of folders, the ones used lately: one for each node would be more than a process may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::os::Place;

struct Held {
    place: Arc<Place>,
    used: u64,
}

#[derive(Default)]
struct State {
    held: HashMap<u64, Held>,
    clock: u64,
}

/// A bounded number of folders kept at hand.
pub(crate) struct Places {
    state: Mutex<State>,
    most: usize,
}

impl Places {
    pub(crate) fn new(most: usize) -> Places {
        Places { state: Mutex::default(), most: most.max(8) }
    }

    pub(crate) fn get(&self, node: u64) -> Option<Arc<Place>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let now = state.clock;
        let held = state.held.get_mut(&node)?;
        held.used = now;
        Some(Arc::clone(&held.place))
    }

    pub(crate) fn put(&self, node: u64, place: Arc<Place>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.held.len() >= self.most {
            // A quarter at once, so that the search for the oldest is paid rarely.
            let mut ages: Vec<u64> = state.held.values().map(|held| held.used).collect();
            let (_, limit, _) = ages.select_nth_unstable(self.most / 4);
            let limit = *limit;
            state.held.retain(|_, held| held.used > limit);
        }
        state.clock += 1;
        let used = state.clock;
        state.held.insert(node, Held { place, used });
    }

    pub(crate) fn remove(&self, node: u64) -> Option<Arc<Place>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&node).map(|held| held.place)
    }
}
