//! What is likely to be asked next: whoever looks up one name after the other in a folder walks a tree, so that folder
//! is worth listing as a whole, and then those that come after it.
//!
//! ```text
//!   misses in a folder ──► it is listed ──► its answer told of folders ──► the next one in order ──► … budget spent
//! ```
//!
//! Nobody sees what the kernel finds in its caches, so only misses tell that the walk goes on: each one doubles what is
//! listed ahead of it, and a pause begins anew. Order is that of paths as git sorts them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names that the kernel is told ahead of the first miss, and of the last of many.
const LEAST: u32 = 64;
const MOST: u32 = 1 << 17;
/// A walk that misses nothing for so long is over.
const PAUSE: Duration = Duration::from_secs(1);
/// Folders that are known and not listed; of more than these none is listed ahead.
const MOST_UNLISTED: usize = 1 << 16;
/// Listings that are wanted at once.
const MOST_WANTED: usize = 64;

/// Path of a folder, each step with a slash behind it.
type Path = Box<[u8]>;

/// What is known of the tree, and what is wanted of it.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<State>);

#[derive(Default)]
struct State {
    unlisted: BTreeMap<Path, u64>,
    paths: HashMap<u64, Path>,
    /// Being listed; and how many names may be told after it.
    wanted: HashMap<u64, (Path, u32)>,
    budget: u32,
    missed: Option<Instant>,
}

impl Ahead {
    /// The kernel is told of a folder, of which it does not know yet what is in it.
    pub(super) fn found(&self, folder: u64, way: &[&[u8]]) {
        let mut state = self.state();
        if state.unlisted.len() < MOST_UNLISTED && !state.paths.contains_key(&folder) {
            let path = path(way);
            state.paths.insert(folder, path.clone());
            state.unlisted.insert(path, folder);
        }
    }

    /// Several names were asked for one by one. The folders to be listed now: this one, and that which it is in,
    /// if that is not.
    pub(super) fn missed(&self, folder: u64, parent: Option<u64>, now: Instant) -> Vec<u64> {
        let mut state = self.state();
        let goes_on = state.missed.is_some_and(|before| now.duration_since(before) < PAUSE);
        state.budget = if goes_on { (state.budget * 2).min(MOST) } else { LEAST };
        state.missed = Some(now);
        let budget = state.budget;
        let parent = parent.filter(|_| goes_on);
        [(Some(folder), budget), (parent, 0)]
            .into_iter()
            .filter_map(|(folder, budget)| state.want(folder?, budget))
            .collect()
    }

    /// Somebody lists a folder.
    pub(super) fn begun(&self, folder: u64) {
        self.state().forget(folder);
    }

    /// It is listed, by whomever, and the kernel knows so many names in it. The folder to be listed next.
    pub(super) fn listed(&self, folder: u64, names: u32) -> Option<u64> {
        let mut state = self.state();
        let (path, budget) = state.wanted.remove(&folder)?;
        let left = budget.checked_sub(names.max(1))?;
        let next = *state.unlisted.range((Bound::Excluded(path), Bound::Unbounded)).next()?.1;
        state.want(next, left)
    }

    /// The kernel does not know it any more, or not by this path.
    pub(super) fn forget(&self, folder: u64) {
        let mut state = self.state();
        state.forget(folder);
        state.wanted.remove(&folder);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn want(&mut self, folder: u64, budget: u32) -> Option<u64> {
        if self.wanted.len() >= MOST_WANTED {
            // Some could not be listed, or whoever lists is far behind.
            self.wanted.clear();
        }
        let path = self.forget(folder)?;
        self.wanted.insert(folder, (path, budget));
        Some(folder)
    }

    fn forget(&mut self, folder: u64) -> Option<Path> {
        let path = self.paths.remove(&folder)?;
        self.unlisted.remove(&path);
        Some(path)
    }
}

fn path(way: &[&[u8]]) -> Path {
    let mut path = Vec::new();
    for step in way {
        path.extend_from_slice(step);
        path.push(b'/');
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders `1`, `2` … with these paths.
    fn ahead(paths: &[&str]) -> Ahead {
        let ahead = Ahead::default();
        for (number, path) in (1..).zip(paths) {
            let way: Vec<&[u8]> = path.split('/').map(str::as_bytes).collect();
            ahead.found(number, &way);
        }
        ahead
    }

    #[test]
    fn what_comes_after_a_missed_folder_is_listed_until_the_budget_is_spent() {
        let ahead = ahead(&["b", "a/x", "a", "c", "a-b"]);
        let now = Instant::now();
        assert_eq!(ahead.missed(3, Some(9), now), [3], "a pause before it: its parent stays as it is");
        let next = |folder, names| {
            ahead.begun(folder);
            ahead.listed(folder, names)
        };
        assert_eq!(next(3, 10), Some(2), "what is in it comes first");
        assert_eq!(next(2, 10), Some(1));
        assert_eq!(next(1, LEAST), None, "more was told than was to be");
        assert_eq!(next(4, 1), None, "listed by somebody else");
    }

    #[test]
    fn each_further_miss_doubles_the_budget_and_a_pause_ends_it() {
        let ahead = ahead(&["a", "b", "c", "d", "e", "f"]);
        let now = Instant::now();
        assert_eq!(ahead.missed(2, None, now), [2]);
        assert_eq!(ahead.missed(4, Some(1), now), [4, 1]);
        assert_eq!(ahead.listed(4, LEAST * 2 - 1), Some(5));
        assert_eq!(ahead.missed(3, None, now + PAUSE), [3]);
        assert_eq!(ahead.listed(3, LEAST + 1), None);
    }

    #[test]
    fn a_folder_is_wanted_once() {
        let ahead = ahead(&["a", "b"]);
        let now = Instant::now();
        assert_eq!(ahead.missed(1, None, now), [1]);
        assert_eq!(ahead.missed(1, None, now), []);
        ahead.forget(2);
        assert_eq!(ahead.listed(1, 1), None);
    }
}
