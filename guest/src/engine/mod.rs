//! What the daemon knows and decides: containers, their states, events. Introduces the parts to each other.

mod error;
mod events;
mod machine;
mod names;
mod networks;
mod records;
mod run;
mod state;

pub(crate) use error::{EngineError, ErrorKind};
pub(crate) use run::{EngineArgs, run};

use holm_api::link::Configure;

use crate::layout::Layout;
use machine::MachineFacts;

/// The whole of it.
#[derive(Debug)]
pub(crate) struct Engine {
    layout: Layout,
    machine: MachineFacts,
}

impl Engine {
    /// Opens what is on the data disk.
    pub(crate) async fn open(layout: Layout, configure: &Option<Configure>) -> Result<Self, EngineError> {
        let hypervisor = configure.as_ref().map_or_else(|| "none".to_owned(), |c| c.hypervisor.clone());
        Ok(Self { layout, machine: MachineFacts::read(hypervisor) })
    }

    /// The machine it runs in.
    pub(crate) fn machine(&self) -> &MachineFacts {
        &self.machine
    }

    /// Stops all containers.
    pub(crate) async fn shut_down(&self) {}
}
