//! `docker pause` and `unpause`: the kernel holds all processes of the container's cgroup still, whatever they do.

use super::Keeper;
use crate::container::cgroup;
use crate::engine::EngineError;
use crate::engine::state::{Event, State};

impl Keeper {
    /// Returns when all of its processes stand still.
    pub(super) async fn pause(&mut self) -> Result<(), EngineError> {
        let id = &self.definition.id;
        let state = self.status.borrow().life.state;
        match state {
            State::Running { .. } => {}
            State::Paused { .. } => {
                return Err(EngineError::Conflict(format!("container {id} is already paused")));
            }
            State::Restarting => {
                return Err(EngineError::Conflict(format!(
                    "Container {id} is restarting, wait until the container is running"
                )));
            }
            _ => return Err(EngineError::NotRunning(id.to_string())),
        }
        let folder = cgroup::folder(&self.definition.host, id);
        let frozen = cgroup::freeze(&folder).await;
        frozen.map_err(EngineError::system(format!("pause container {id}")))?;
        self.note(Event::Paused);
        self.tell("pause", []);
        Ok(())
    }

    /// Lets them go on.
    pub(super) fn unpause(&mut self) -> Result<(), EngineError> {
        let id = &self.definition.id;
        if !self.status.borrow().life.is_paused() {
            // A fault of the client's, for which Docker takes the blame.
            return Err(EngineError::Internal(format!("Container {id} is not paused")));
        }
        let folder = cgroup::folder(&self.definition.host, id);
        match cgroup::thaw(&folder) {
            // It was killed in this moment, which a paused container can be; its exit is on its way.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other.map_err(EngineError::system(format!("unpause container {id}")))?,
        }
        self.note(Event::Unpaused);
        self.tell("unpause", []);
        Ok(())
    }
}
