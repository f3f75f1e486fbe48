//! What a new engine makes of what an earlier one left: shims that live are adopted, containers that ended
//! meanwhile are marked so, half-made and half-removed ones are cleared away.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use holm_api::ContainerId;
use holm_api::link::Configure;
use tokio_util::task::AbortOnDropHandle;

use super::events::Events;
use super::exec::Execs;
use super::machine::MachineFacts;
use super::mounts::AnonymousVolumes;
use super::networks::{self, Member, Networks};
use super::records::{self, Definition, Status};
use super::state::{Event, State};
use super::table::Table;
use super::volumes::blocking;
use super::{Container, Engine, EngineError, keeper, launch};
use crate::container::abilities::HostAbilities;
use crate::container::cgroup;
use crate::image::{Images, RegistrySettings};
use crate::layout::Layout;
use crate::network::Namespace;
use crate::services::Services;
use crate::shim::client::{ShimClient, ShimError};
use crate::shim::protocol::ExitStatus;
use crate::snapshot::Layers;
use crate::volume::Volumes;

/// Of a container whose end nobody saw: the machine lost its power, or its shim was killed.
const EXIT_UNKNOWN: i32 = 255;

/// A container as it was found.
struct Found {
    definition: Definition,
    status: Status,
    /// Set where its shim lives.
    shim: Option<ShimClient>,
}

impl Found {
    /// Its places on networks, which are taken.
    fn members(&self) -> impl Iterator<Item = Member> {
        self.status.endpoints.iter().map(|endpoint| Member {
            container: self.definition.id.clone(),
            name: self.definition.name.clone(),
            endpoint: endpoint.clone(),
        })
    }
}

impl Engine {
    /// Opens what is on the data disk and takes up the containers that still run.
    pub(crate) async fn open(
        layout: Layout,
        configure: &Configure,
        computer: Option<PathBuf>,
        sockets: Option<PathBuf>,
        services: Services,
    ) -> Result<Arc<Self>, EngineError> {
        let settings = RegistrySettings::from_configure(configure);
        for folder in [layout.containers(), layout.runtime(), layout.run().join("shims")] {
            fs::create_dir_all(&folder).map_err(EngineError::system("make a folder"))?;
        }
        let read = read_all(&layout).map_err(EngineError::system("read the containers' records"))?;
        let mut found = Vec::new();
        for (definition, status) in read {
            found.push(examine(&layout, definition, status).await);
        }

        // Beside what follows: the kernel takes its time over bridges and filters.
        let networks = AbortOnDropHandle::new(tokio::spawn({
            let (folder, routes) = (layout.networks(), configure.routes.clone());
            let in_use: Vec<_> = found.iter().flat_map(Found::members).collect();
            async move { Networks::open(&folder, &routes, &in_use).await }
        }));
        let layers = Layers::open(layout.layers()).map_err(EngineError::system("open the layers"))?;
        let layers = Arc::new(layers);
        let held: Vec<_> =
            found.iter().flat_map(|found| found.definition.images()).flat_map(|(_, layers)| layers).collect();
        let images = Images::open(layout.images(), layers.clone(), &held, settings)
            .map_err(|error| EngineError::Internal(error.to_string()))?;
        let volumes = Volumes::open(layout.volumes()).map_err(EngineError::system("open the volumes"))?;

        let engine = Arc::new(Self {
            machine: MachineFacts::read(configure.hypervisor.clone()),
            program: std::env::current_exe().map_err(EngineError::system("find our own program"))?,
            abilities: HostAbilities::probe()
                .map_err(EngineError::system("look at what this host can do"))?,
            computer,
            binds: configure.binds,
            sockets,
            sharing: tokio::sync::Mutex::default(),
            changing_hosts: std::sync::Mutex::default(),
            layers,
            images,
            networks: networks.await.map_err(|ended| EngineError::Internal(ended.to_string()))??,
            network_names: networks::Names::default(),
            services,
            listening: tokio::sync::Notify::new(),
            volumes: Arc::new(volumes),
            pruning_containers: tokio::sync::Mutex::default(),
            pruning_volumes: tokio::sync::Mutex::default(),
            pruning_networks: tokio::sync::Mutex::default(),
            pruning_images: tokio::sync::Mutex::default(),
            events: Events::default(),
            execs: Execs::default(),
            table: Mutex::new(Table::default()),
            stopping: AtomicBool::new(false),
            layout,
        });
        // All names before the first server answers for them.
        for found in &found {
            engine.announce(&found.definition, &found.status.endpoints);
        }
        for found in &found {
            engine.serve_again(&found.definition, &found.status).await;
        }
        for found in found {
            engine.keep_mounts(&found.definition, found.shim.is_some());
            engine.take_up(found);
        }
        let volumes = engine.volumes.clone();
        let unmounting = move || {
            volumes.unmount_leftovers();
            Ok(())
        };
        blocking(unmounting).await?;
        engine.keep_published().await;
        Ok(engine)
    }

    /// Opens the name server of a container that runs since before this engine did.
    async fn serve_again(&self, definition: &Definition, status: &Status) {
        let Some(pid) = status.life.pid() else { return };
        let served = match Namespace::of(pid) {
            Ok(namespace) => self.serve_names(definition, &namespace, &status.endpoints).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = served {
            tracing::warn!("{} has no name server: {error}", definition.id.short());
        }
    }

    fn take_up(self: &Arc<Self>, found: Found) {
        let Found { definition, status, shim } = found;
        let mut table = self.table();
        if let Err(error) = table.names.reserve(&definition.name, &definition.id) {
            // Two folders with one name can only be somebody's copy; the container stays reachable by its id.
            tracing::warn!("{}: {error}", definition.id.short());
        }
        let id = definition.id.clone();
        let container = keeper::spawn(self.clone(), definition, status, shim);
        table.containers.insert(id, container);
    }

    /// Starts what restart policies ask for, and removes what should have gone with its end. Called when the
    /// API listens: neither is worth making clients wait.
    pub(crate) async fn resume(self: &Arc<Self>) {
        self.clear_ended_shares().await;
        for container in self.containers() {
            let definition = container.definition();
            let life = container.status().life;
            if life.starts_with_engine(definition.restart_policy()) {
                self.start_again(&container).await;
            } else if definition.removes_itself()
                && life.state == State::Exited
                && let Err(error) = container.remove(AnonymousVolumes::Remove).await
            {
                tracing::warn!("{} is not removed: {error}", container.id().short());
            }
        }
    }

    async fn start_again(&self, container: &Container) {
        if let Err(error) = container.start_again().await {
            tracing::warn!("{} does not start again: {error}", container.id().short());
        }
    }
}

/// All containers on the disk; what is half made or half removed goes.
fn read_all(layout: &Layout) -> io::Result<Vec<(Definition, Status)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(layout.containers())? {
        let folder = entry?.path();
        match records::read(&folder) {
            Ok(Some((definition, status))) if is_home_of(&folder, &definition.id) => {
                if status.life.state == State::Removing {
                    clear(&folder);
                } else {
                    all.push((definition, status));
                }
            }
            Ok(Some(_)) => tracing::warn!("{} holds another container's record", folder.display()),
            Ok(None) => clear(&folder),
            // Not ours to throw away: somebody may want to look at it.
            Err(error) => tracing::warn!("{} cannot be read: {error}", folder.display()),
        }
    }
    Ok(all)
}

fn is_home_of(folder: &Path, id: &ContainerId) -> bool {
    folder.file_name().is_some_and(|name| name == id.as_str())
}

fn clear(folder: &Path) {
    tracing::info!("clearing away {}", folder.display());
    if let Err(error) = records::remove(folder) {
        tracing::warn!("{} stays: {error}", folder.display());
    }
}

/// Finds out how a container fared while no engine watched.
async fn examine(layout: &Layout, definition: Definition, mut status: Status) -> Found {
    let folder = layout.container(&definition.id);
    let (bundle, socket) = (folder.join("bundle"), layout.shim_socket(&definition.id));
    let shim = ShimClient::new(&bundle, &socket, &launch::exit_file(&folder));
    let policy = definition.restart_policy();
    let adopted = match (status.life.state, shim.state().await) {
        (State::Running { .. } | State::Paused { .. }, Ok((pid, _))) => {
            // The kernel knows better than a record that was written after the deed.
            let paused = cgroup::is_frozen(&cgroup::folder(&definition.host, &definition.id));
            status.life.state = if paused { State::Paused { pid } } else { State::Running { pid } };
            Some(shim)
        }
        (_, Ok(_)) => {
            // Its start was never acknowledged, so nobody counts on it.
            if let Err(error) = shim.end().await {
                tracing::warn!("a shim without container stays: {error}");
            }
            None
        }
        (State::Running { .. } | State::Paused { .. }, Err(error)) => {
            // A rule cannot refuse an exit.
            let _ = status.life.apply(missed_exit(&shim).await, policy);
            clear_after(&shim, &error).await;
            None
        }
        (State::Starting, Err(error)) => {
            clear_after(&shim, &error).await;
            None
        }
        (_, Err(_)) => None,
    };
    if status.life.state == State::Starting {
        let message = "the engine ended while the container was starting".to_owned();
        let _ = status.life.apply(Event::StartFailed { code: EXIT_UNKNOWN, message }, policy);
    }
    let _ = status.life.apply(Event::ShutDown, policy);
    if adopted.is_none() {
        status.endpoints.clear();
        status.ports.clear();
    }
    Found { definition, status, shim: adopted }
}

/// A shim that was killed has left a cgroup, and processes where they are not the container's own to end.
async fn clear_after(shim: &ShimClient, error: &ShimError) {
    if matches!(error, ShimError::Gone)
        && let Err(error) = shim.forget().await
    {
        tracing::warn!("what a killed shim left is not cleared away: {error}");
    }
}

async fn missed_exit(shim: &ShimClient) -> Event {
    match shim.recorded_exit().await {
        Ok(Some(ExitStatus { code, oom_killed, unix_nanos })) => {
            let at = i64::try_from(unix_nanos).map_or_else(|_| Utc::now(), DateTime::from_timestamp_nanos);
            Event::Exited { code, oom_killed, at }
        }
        Ok(None) | Err(_) => Event::Exited { code: EXIT_UNKNOWN, oom_killed: false, at: Utc::now() },
    }
}
