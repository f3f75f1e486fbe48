//! `docker container prune`: all containers that do not run, and that are wanted.

use super::events::Subject;
use super::mounts::AnonymousVolumes;
use super::volumes::Pruned;
use super::{Definition, Engine, EngineError};

impl Engine {
    /// Removes every container at rest that is `wanted`. One that cannot be removed stays, and is no error.
    pub(crate) async fn prune_containers(
        &self,
        wanted: impl Fn(&Definition) -> bool,
    ) -> Result<Pruned, EngineError> {
        let Ok(_alone) = self.pruning_containers.try_lock() else {
            return Err(EngineError::Conflict("a prune operation is already running".to_owned()));
        };
        let mut pruned = Pruned::default();
        for container in self.containers() {
            if container.status().life.is_running() || !wanted(&container.definition()) {
                continue;
            }
            // Only for the client's information.
            let size = self.written(container.id()).await.unwrap_or(0);
            match container.remove(AnonymousVolumes::Keep).await {
                Ok(()) => {
                    pruned.removed.push(container.id().to_string());
                    pruned.reclaimed += size;
                }
                // Somebody started it, or removed it, in this moment.
                Err(error) => tracing::info!("{} is not pruned: {error}", container.id().short()),
            }
        }
        self.tell_prune(Subject::Container, pruned.reclaimed);
        Ok(pruned)
    }
}
