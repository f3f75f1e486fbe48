//! Whose namespaces a container shares: `--network`, `--pid` and `--ipc` with `container:<name or id>`, and memory that
//! others may share (`--ipc shareable`). A name is pinned to its id when the container is made; who it is has to run
//! when the container starts.

use std::path::PathBuf;

use holm_api::ContainerRef;
use holm_api::models::HostConfig;
use oci_spec::runtime::{Mount, MountBuilder};

use super::records::Definition;
use super::shared_memory;
use super::state::State;
use super::{Container, Engine, EngineError, ErrorKind};
use crate::container::Joined;

const PREFIX: &str = "container:";
/// Containers that share one another's memory in a chain, each with the next one.
const LONGEST_CHAIN: usize = 16;

/// The container that a mode names, if it names one.
pub(super) fn named(mode: Option<&str>) -> Option<&str> {
    mode?.strip_prefix(PREFIX)
}

/// What a starting container shares.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Of whom.
    pub(super) namespaces: Joined,
    /// In the place of shared memory of its own.
    pub(super) shared_memory: Option<Mount>,
    /// Who has the network, and with it the host name and the files of `/etc`.
    pub(super) network: Option<Container>,
}

impl Engine {
    /// Ids in the place of names, so that a container keeps its partners when they are renamed. Who has the network may
    /// be made before the start, as with Docker; the others are to be there already.
    pub(super) fn pin_joined(&self, host: &mut HostConfig) -> Result<(), EngineError> {
        for (mode, later) in
            [(&mut host.network_mode, true), (&mut host.pid_mode, false), (&mut host.ipc_mode, false)]
        {
            let Some(name) = named(mode.as_deref()) else { continue };
            match self.find(&ContainerRef(name.to_owned())) {
                Ok(found) => *mode = Some(format!("{PREFIX}{}", found.id())),
                Err(_) if later => {}
                Err(error) => return Err(EngineError::Invalid(error.to_string())),
            }
        }
        Ok(())
    }

    /// Finds those whose namespaces the container shares.
    pub(super) fn sharing(&self, definition: &Definition) -> Result<Sharing, EngineError> {
        let host = &definition.host;
        let mut sharing = Sharing::default();
        if let Some(name) = named(host.network_mode.as_deref()) {
            let partner = self.network_partner(name, definition)?;
            sharing.namespaces.network = partner.status().life.pid();
            sharing.network = Some(partner);
        }
        if let Some(name) = named(host.pid_mode.as_deref()) {
            let partner =
                self.running(name).map_err(|error| error.while_doing("failed to join PID namespace"))?;
            sharing.namespaces.pid = partner.status().life.pid();
        }
        if let Some(name) = named(host.ipc_mode.as_deref()) {
            let doing = "failed to join IPC namespace";
            let partner = self.running(name).map_err(|error| error.while_doing(doing))?;
            sharing.namespaces.ipc = partner.status().life.pid();
            let memory = self.shared_memory_of(&partner, name).map_err(|error| error.while_doing(doing))?;
            sharing.shared_memory = Some(bind(memory));
        } else if let Some(memory) = self.own_shared_memory(definition) {
            sharing.shared_memory = Some(bind(memory));
        }
        Ok(sharing)
    }

    fn network_partner(&self, name: &str, definition: &Definition) -> Result<Container, EngineError> {
        let partner = self.find(&ContainerRef(name.to_owned())).map_err(|error| {
            // The client named it when it made the container, so it is not this request that is wrong.
            EngineError::Internal(format!("joining network namespace of container: {error}"))
        })?;
        if *partner.id() == definition.id {
            return Err(EngineError::Internal("cannot join own network namespace".to_owned()));
        }
        let life = partner.status().life;
        if !life.is_running() {
            return Err(EngineError::Conflict(format!(
                "cannot join network namespace of a non running container: container {} is {}",
                partner.definition().name,
                life.word()
            )));
        }
        match life.pid() {
            Some(_) => Ok(partner),
            None => Err(restarting(name).while_doing("cannot join network namespace of container")),
        }
    }

    fn running(&self, name: &str) -> Result<Container, EngineError> {
        let partner = self.find(&ContainerRef(name.to_owned())).map_err(|error| match error.kind() {
            ErrorKind::NotFound => EngineError::Invalid(error.to_string()),
            _ => error,
        })?;
        match partner.status().life.state {
            State::Running { .. } | State::Paused { .. } => Ok(partner),
            State::Restarting => Err(restarting(name)),
            _ => Err(EngineError::NotRunning(name.to_owned())),
        }
    }

    /// What a container has that does not keep its memory to itself.
    fn own_shared_memory(&self, definition: &Definition) -> Option<PathBuf> {
        match definition.host.ipc_mode.as_deref() {
            Some("shareable") => Some(shared_memory::folder(self.layout(), &definition.id)),
            Some("host") => Some(PathBuf::from(shared_memory::OF_MACHINE)).filter(|folder| folder.is_dir()),
            _ => None,
        }
    }

    /// That of the one who shares, or of whom that one shares with in turn.
    fn shared_memory_of(&self, partner: &Container, name: &str) -> Result<PathBuf, EngineError> {
        let mut owner = partner.definition();
        for _ in 0..LONGEST_CHAIN {
            let Some(next) = named(owner.host.ipc_mode.as_deref()) else { break };
            owner = self.find(&ContainerRef(next.to_owned()))?.definition();
        }
        self.own_shared_memory(&owner).ok_or_else(|| {
            EngineError::Invalid(format!(
                "container {name}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
            ))
        })
    }
}

fn restarting(name: &str) -> EngineError {
    EngineError::Conflict(format!("Container {name} is restarting, wait until the container is running"))
}

fn bind(source: PathBuf) -> Mount {
    let options = ["rbind", "rprivate", "nosuid", "noexec", "nodev"].map(str::to_owned);
    let built = MountBuilder::default().destination("/dev/shm").typ("bind").source(source).options(options);
    built.build().expect("the destination is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mode_with_the_prefix_names_a_container() {
        assert_eq!(named(Some("container:db")), Some("db"));
        assert_eq!(named(Some("host")), None);
        assert_eq!(named(None), None);
    }
}
