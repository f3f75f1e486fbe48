//! All further processes that were asked for: those that ended are kept for a while, for clients who want the exit
//! code, and neither these nor the others without bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use holm_api::{ContainerId, ExecId};

use super::Exec;
use super::stage::Stage;
use crate::engine::EngineError;
use crate::engine::state::State;

/// As long as moby keeps them at least.
const KEPT: Duration = Duration::from_secs(300);
/// Ended ones at most; the oldest go first.
const MOST_ENDED: usize = 2048;
/// Those that have not ended, most of which nobody has started.
const MOST_OPEN: usize = 4096;

/// The table.
#[derive(Debug, Default)]
pub(in crate::engine) struct Execs(Mutex<HashMap<ExecId, Arc<Exec>>>);

impl Execs {
    /// Adds one, and forgets what need not be known any more.
    pub(super) fn add(&self, exec: Arc<Exec>, now: Instant) -> Result<(), EngineError> {
        let mut all = self.lock();
        sweep(&mut all, now);
        if all.values().filter(|exec| exec.ended_at().is_none()).count() >= MOST_OPEN {
            return Err(EngineError::Unavailable(format!(
                "there are {MOST_OPEN} exec instances that have not ended"
            )));
        }
        all.insert(exec.id.clone(), exec);
        Ok(())
    }

    /// By its full id; moby knows no other way. `None` also where its container is gone.
    pub(super) fn find(&self, id: &str) -> Option<Arc<Exec>> {
        let exec = self.lock().get(&id.parse::<ExecId>().ok()?).cloned()?;
        (exec.container.status().life.state != State::Removed).then_some(exec)
    }

    /// Forgets one at once.
    pub(super) fn remove(&self, id: &ExecId) {
        self.lock().remove(id);
    }

    /// Those of a container that have not ended.
    pub(super) fn open_of(&self, container: &ContainerId) -> Vec<ExecId> {
        let all = self.lock();
        let of_container = all.values().filter(|exec| exec.container.id() == container);
        let open = of_container.filter(|exec| !matches!(exec.stage(), Stage::Ended { .. }));
        open.map(|exec| exec.id.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecId, Arc<Exec>>> {
        // Each change is one insertion or removal.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sweep(all: &mut HashMap<ExecId, Arc<Exec>>, now: Instant) {
    all.retain(|_, exec| {
        let outdated = exec.ended_at().is_some_and(|at| now.saturating_duration_since(at) >= KEPT);
        !outdated && exec.container.status().life.state != State::Removed
    });
    let mut ended: Vec<_> =
        all.values().filter_map(|exec| Some((exec.ended_at()?, exec.id.clone()))).collect();
    if let Some(surplus) = ended.len().checked_sub(MOST_ENDED).filter(|surplus| *surplus > 0) {
        ended.sort_unstable_by_key(|(at, _)| *at);
        for (_, id) in &ended[..surplus] {
            all.remove(id);
        }
    }
}
