//! The OCI runtime spec of a container, as Docker's daemon would write it (moby, `daemon/oci_linux.go`).

use std::path::Path;

use holm_api::ContainerId;
use holm_api::models::{ContainerConfig, HostConfig};
use oci_spec::runtime::{Mount, Spec};

use super::abilities::HostAbilities;
use super::etc_files::EtcFiles;

/// What a container is made of.
#[derive(Clone, Copy, Debug)]
pub struct SpecInput<'a> {
    /// The container.
    pub id: &'a ContainerId,
    /// What it runs, merged with its image's configuration ([`super::merge`]), its host name filled in.
    pub config: &'a ContainerConfig,
    /// How it runs.
    pub host: &'a HostConfig,
    /// Where the shim mounts its root: the bundle's `rootfs`, absolute.
    pub rootfs: &'a Path,
    /// The files mounted into its `/etc`.
    pub files: &'a EtcFiles,
    /// Binds, volumes and tmpfs beside the default mounts.
    pub mounts: &'a [Mount],
    /// Whose namespaces it shares (`container:<id>`), resolved by the engine.
    pub joined: Joined,
    /// `holmd` itself, which is also the small init of `--init`.
    pub program: &'a Path,
    /// What the host can do.
    pub abilities: &'a HostAbilities,
}

/// First processes of the containers whose namespaces are shared; `None` makes new ones, or the machine's as
/// [`HostConfig`] says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Joined {
    /// `NetworkMode`.
    pub network: Option<i32>,
    /// `PidMode`.
    pub pid: Option<i32>,
    /// `IpcMode`.
    pub ipc: Option<i32>,
}

/// What a client asked for and cannot have. The messages are Docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Neither the client nor the image says what to run.
    #[error("no command specified")]
    NoCommand,
    /// A value that Docker refuses, in Docker's words. HTTP 400.
    #[error("{0}")]
    Invalid(String),
}

/// The spec, and Docker's warnings about what was left out of it. `process.user` is not in it: the shim
/// resolves [`ContainerConfig::user`] in the mounted root.
pub fn spec(input: &SpecInput<'_>) -> Result<(Spec, Vec<String>), SpecError> {
    let _ = input;
    Err(SpecError::NoCommand)
}
