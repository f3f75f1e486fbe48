//! Where things are kept in the guest. Every folder has one owner among the modules.
//!
//! | path | owner | survives a restart of the machine |
//! |---|---|---|
//! | `<data>/images` | `image` | yes |
//! | `<data>/layers` | `snapshot` | yes |
//! | `<data>/containers/<id>` | `engine` | yes |
//! | `<data>/networks` | `network` | yes |
//! | `<data>/volumes` | `volume` | yes |
//! | `<run>/shims/<id>.sock` | `shim` | no |
//! | `<run>/runtime` | `shim` (libcontainer's own state) | no |
//! | `<run>/docker.sock` | `init` listens, the engine serves | no |
//! | `<run>/shares` | `engine` | no |
//! | `<run>/configure.json` | `init` writes, the engine reads at its start | no |

use std::path::{Path, PathBuf};

use holm_api::ContainerId;

/// Name of the API's socket in the machine.
pub(crate) const ENGINE_SOCKET: &str = "docker.sock";

/// The two roots: the data disk, and a tmpfs.
#[derive(Clone, Debug)]
pub struct Layout {
    data: PathBuf,
    run: PathBuf,
}

impl Layout {
    /// `/var/lib/holm` and `/run/holm`, unless init was told otherwise.
    pub fn new(data: impl Into<PathBuf>, run: impl Into<PathBuf>) -> Self {
        Self { data: data.into(), run: run.into() }
    }

    /// Root of all that survives.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Root of all that does not.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// Image records and blobs.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// Unpacked layers by chain id.
    pub fn layers(&self) -> PathBuf {
        self.data.join("layers")
    }

    /// Every container's folder.
    pub fn containers(&self) -> PathBuf {
        self.data.join("containers")
    }

    /// One container's folder: record, bundle, upper layer, log.
    pub fn container(&self, id: &ContainerId) -> PathBuf {
        self.containers().join(id.as_str())
    }

    /// Network records.
    pub fn networks(&self) -> PathBuf {
        self.data.join("networks")
    }

    /// Volumes by name.
    pub fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// Where a container's shim listens.
    pub fn shim_socket(&self, id: &ContainerId) -> PathBuf {
        // sun_path holds 108 bytes; 32 digits are unique enough on one machine and leave room for `<run>`.
        self.run.join("shims").join(format!("{}.sock", &id.as_str()[..32]))
    }

    /// libcontainer's state folder.
    pub fn runtime(&self) -> PathBuf {
        self.run.join("runtime")
    }

    /// The API inside the machine, for containers that a client gives it to.
    pub fn engine_socket(&self) -> PathBuf {
        self.run.join(ENGINE_SOCKET)
    }

    /// What the host told init, for the engine.
    pub fn configure(&self) -> PathBuf {
        self.run.join("configure.json")
    }
}
