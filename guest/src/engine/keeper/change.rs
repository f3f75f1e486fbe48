//! What a client changes of a container that exists: its name, its limits, its restart policy. The new definition is
//! on the disk before it is acknowledged, and is everybody's to see from then on.

use std::sync::Arc;

use holm_api::models::HostConfig;

use super::Keeper;
use crate::container::resources::{Subject, resources};
use crate::container::{cgroup, limits};
use crate::engine::records::{self, Definition, Durability};
use crate::engine::state::State;
use crate::engine::update::updated;
use crate::engine::{EngineError, names};

impl Keeper {
    /// Takes `text` for its name, and lets others have the one it had.
    pub(super) async fn rename(&mut self, text: &str) -> Result<(), EngineError> {
        let old = self.definition.name.clone();
        if text.strip_prefix('/').unwrap_or(text) == old {
            return Err(EngineError::Invalid(
                "Renaming a container with the same name as its current name".to_owned(),
            ));
        }
        let id = self.definition.id.clone();
        let reserved = names::checked(text)
            .and_then(|name| self.engine.table().names.reserve(name, &id).map(|()| name.to_owned()));
        let name = reserved.map_err(|error| error.while_doing("Error when allocating new name"))?;
        let definition = Definition { name: name.clone(), ..Definition::clone(&self.definition) };
        if let Err(error) = self.replace_definition(definition).await {
            self.engine.table().names.release(&name, &id);
            return Err(error);
        }
        self.engine.table().names.release(&old, &id);
        let endpoints = self.status.borrow().endpoints.clone();
        self.engine.networks().rename(&endpoints, &name);
        self.engine.announce(&self.definition, &endpoints);
        self.tell("rename", [("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Takes other limits, which hold at once where it runs, and another restart policy.
    pub(super) async fn update(&mut self, wish: &HostConfig) -> Result<(), EngineError> {
        let cannot = format!("Cannot update container {}", self.definition.id);
        if matches!(self.status.borrow().life.state, State::Removing | State::Dead | State::Removed) {
            let marked = "container is marked for removal and cannot be \"update\"".to_owned();
            return Err(EngineError::Conflict(marked).while_doing(cannot));
        }
        self.try_update(wish).await.map_err(|error| error.while_doing(cannot))?;
        self.tell("update", []);
        Ok(())
    }

    async fn try_update(&mut self, wish: &HostConfig) -> Result<(), EngineError> {
        let before = self.definition.clone();
        let host = updated(&before.host, wish)?;
        // Told to the client already, by the wish alone.
        let limits = resources(&host, Subject::Change, self.engine.abilities())?;
        self.replace_definition(Definition { host, ..Definition::clone(&before) }).await?;
        if self.shim.is_none() {
            return Ok(());
        }
        let folder = cgroup::folder(&before.host, &before.id);
        if let Err(cause) = limits::write(&folder, &limits) {
            self.replace_definition(Definition::clone(&before)).await?;
            return Err(EngineError::System { doing: "cannot set its limits".to_owned(), cause });
        }
        Ok(())
    }

    pub(super) async fn replace_definition(&mut self, definition: Definition) -> Result<(), EngineError> {
        let definition = Arc::new(definition);
        let folder = self.engine.layout().container(&definition.id);
        let durability = if definition.removes_itself() { Durability::Atomic } else { Durability::Durable };
        let new = definition.clone();
        let written =
            tokio::task::spawn_blocking(move || records::write_definition(&folder, &new, durability)).await;
        written
            .unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)))
            .map_err(EngineError::system("write the container's record"))?;
        self.definition = definition.clone();
        self.definitions.send_replace(definition);
        Ok(())
    }
}
