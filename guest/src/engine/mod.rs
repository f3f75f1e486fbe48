//! What the daemon knows and decides: containers, their states, events. Introduces the parts to each other.
//!
//! ```text
//!   Engine ── table ──► Container (a handle) ── requests ──► keeper (a task a container)
//!     │                      ▲ status (watched)                 │ state.rs: the rules
//!     │                      └──────────────────────────────────┤ launch.rs: shim, network, streams
//!     └─ images, layers, networks, events                         └ records.rs: its folder
//! ```

mod attach;
mod commit;
mod container;
mod create;
mod emulator;
mod error;
mod events;
mod exec;
mod files;
mod health;
mod images;
mod import;
mod instructions;
mod joined;
mod keeper;
mod launch;
mod links;
mod logging;
mod logs;
mod machine;
mod mounts;
mod names;
mod networks;
mod ports;
mod prune;
mod records;
mod recover;
mod run;
mod shared_memory;
mod shares;
mod shown;
mod state;
mod stats;
mod stop;
mod table;
mod top;
mod update;
mod validate;
mod volumes;
mod wait;

pub(crate) use attach::{DetachKeys, Ended, Form, pump};
pub(crate) use commit::CommitRequest;
pub(crate) use container::{Attached, Begin, Container, Start};
pub(crate) use create::CreateRequest;
pub(crate) use error::{EngineError, ErrorKind};
pub(crate) use events::{Event, Subject};
pub(crate) use exec::{Exec, ExecWish, Stage as ExecStage};
pub(crate) use files::CLIENT_DEADLINE;
pub(crate) use health::{Health, HealthStatus};
pub(crate) use import::ImportRequest;
pub(crate) use logging::{
    details as log_details, driver as log_driver, is_kept as log_is_kept, path as log_path,
};
pub(crate) use logs::{Frames as LogFrames, LogSink, LogWish, Replay, Timestamp, read as read_log};
pub(crate) use mounts::AnonymousVolumes;
pub(crate) use networks::{CreateNetwork, Ipam, IpamConfig, Network, Networks, dns_names, has_embedded_dns};
pub(crate) use ports::container_port;
pub(crate) use records::{Definition, Status};
pub(crate) use run::{EngineArgs, run};
pub(crate) use state::{Life, State};
pub(crate) use stats::Sample;
pub(crate) use stop::{Stop, StopWish, parse_signal};
pub(crate) use wait::{WaitFor, Waited};

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use holm_api::ContainerId;
use holm_api::link::Binds;

use crate::container::abilities::HostAbilities;
use crate::image::Images;
use crate::layout::Layout;
use crate::services::Services;
use crate::snapshot::Layers;
use crate::volume::Volumes;
use events::{Actor, Events};
use exec::Execs;
use machine::MachineFacts;
use table::Table;

/// The whole of it.
pub(crate) struct Engine {
    layout: Layout,
    machine: MachineFacts,
    /// `holmd` itself, started again as a shim.
    program: PathBuf,
    abilities: HostAbilities,
    /// Where this computer's own folders are, in a machine that sees them.
    computer: Option<PathBuf>,
    /// How containers get at them.
    binds: Binds,
    /// Unix sockets in place of vsock, for those that this process starts.
    sockets: Option<PathBuf>,
    /// Held while a share is mounted or unmounted.
    sharing: tokio::sync::Mutex<()>,
    /// Held by whoever changes `/etc/hosts` of a container that runs.
    changing_hosts: Mutex<()>,
    layers: Arc<Layers>,
    images: Images,
    networks: Networks,
    network_names: networks::Names,
    /// What only the host can do.
    services: Services,
    /// A container may have come to the machine's own network.
    listening: tokio::sync::Notify,
    volumes: Arc<Volumes>,
    /// Held by the one prune of containers that may run.
    pruning_containers: tokio::sync::Mutex<()>,
    /// Held by the one prune of volumes that may run.
    pruning_volumes: tokio::sync::Mutex<()>,
    /// Likewise of networks.
    pruning_networks: tokio::sync::Mutex<()>,
    /// Likewise of images.
    pruning_images: tokio::sync::Mutex<()>,
    events: Events,
    execs: Execs,
    table: Mutex<Table>,
    stopping: AtomicBool,
}

impl Engine {
    /// The machine it runs in.
    pub(crate) fn machine(&self) -> &MachineFacts {
        &self.machine
    }

    /// What the machine lets containers have.
    pub(crate) fn abilities(&self) -> &HostAbilities {
        &self.abilities
    }

    /// Where things are kept.
    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// All images.
    pub(crate) fn images(&self) -> &Images {
        &self.images
    }

    /// All networks.
    pub(crate) fn networks(&self) -> &Networks {
        &self.networks
    }

    /// What happened, and happens.
    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    /// Bytes that a container has written over its image's files.
    pub(crate) async fn written(&self, id: &ContainerId) -> Result<u64, EngineError> {
        let upper = self.layout.container(id).join("upper");
        let counted = tokio::task::spawn_blocking(move || match upper.exists() {
            true => crate::snapshot::usage(&upper),
            false => Ok(0),
        });
        let counted = counted.await.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        counted.map_err(EngineError::system("count the bytes of a container"))
    }

    /// Where this computer's own folders are, in a machine that sees them.
    fn computer(&self) -> Option<&Path> {
        self.computer.as_deref()
    }

    fn program(&self) -> &Path {
        &self.program
    }

    fn layers(&self) -> &Layers {
        &self.layers
    }

    /// What only the host can do.
    fn services(&self) -> &Services {
        &self.services
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells an event of a container, with its labels, as moby does.
    pub(crate) fn tell_container<const N: usize>(
        &self,
        definition: &Definition,
        action: &str,
        more: [(&str, String); N],
    ) {
        self.tell_container_all(definition, action, more.into_iter());
    }

    fn tell_container_all<'a>(
        &self,
        definition: &Definition,
        action: &str,
        more: impl Iterator<Item = (&'a str, String)>,
    ) {
        let labels = definition.config.labels.iter().flatten();
        let mut attributes: std::collections::BTreeMap<_, _> =
            labels.map(|(key, value)| (key.clone(), value.clone())).collect();
        attributes.insert("image".to_owned(), definition.image.reference.clone());
        attributes.insert("name".to_owned(), definition.name.clone());
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        let actor = Actor { id: definition.id.to_string(), attributes };
        self.events.tell(Subject::Container, action, actor);
    }

    /// Stops all containers, each with its own signal and patience. Those whose policy asks for it run again
    /// when the machine is back.
    pub(crate) async fn shut_down(self: &Arc<Self>) {
        self.stopping.store(true, Ordering::Relaxed);
        let mut stops = tokio::task::JoinSet::new();
        for container in self.containers() {
            let engine = self.clone();
            stops.spawn(async move { engine.stop_for_good(&container).await });
        }
        while stops.join_next().await.is_some() {}
    }
}
