//! All containers of this machine, and how a client's word for one is understood.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};

use holm_api::{ContainerId, ContainerRef};

use super::container::Container;
use super::names::Names;
use super::records::Definition;
use super::{Engine, EngineError};

/// Names, and who has them. Never locked across an await.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) names: Names,
    pub(super) containers: HashMap<ContainerId, Container>,
}

impl Table {
    /// A full id, a name, or the start of exactly one id, in this order.
    fn find(&self, wanted: &str) -> Result<Container, EngineError> {
        if wanted.is_empty() {
            return Err(EngineError::Invalid("invalid name or ID supplied: \"\"".to_owned()));
        }
        let name = wanted.strip_prefix('/').unwrap_or(wanted);
        let exact = wanted.parse().ok().and_then(|id: ContainerId| self.containers.get(&id));
        let named = || self.names.owner(name).and_then(|id| self.containers.get(id));
        if let Some(container) = exact.or_else(named) {
            return Ok(container.clone());
        }
        let mut matching = self.containers.values().filter(|c| c.id().as_str().starts_with(wanted));
        match (matching.next(), matching.next()) {
            (Some(container), None) => Ok(container.clone()),
            (Some(_), Some(_)) => Err(EngineError::AmbiguousId(wanted.to_owned())),
            (None, _) => Err(EngineError::NoSuchContainer(wanted.to_owned())),
        }
    }
}

impl Engine {
    /// The container that a client means.
    pub(crate) fn find(&self, wanted: &ContainerRef) -> Result<Container, EngineError> {
        self.table().find(&wanted.0)
    }

    /// All containers, the newest first.
    pub(crate) fn containers(&self) -> Vec<Container> {
        let mut all: Vec<_> = self.table().containers.values().cloned().collect();
        all.sort_by_key(|container| std::cmp::Reverse(container.definition().created));
        all
    }

    /// Takes a removed container out of the table; its name is free from here on.
    pub(super) fn forget(&self, definition: &Definition) {
        let mut table = self.table();
        table.names.release(&definition.name, &definition.id);
        table.containers.remove(&definition.id);
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // Names and containers change one at a time; a panic between the two leaves at worst a name without
        // its container, which `find` passes over.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
