//! What is kept of a container, in its folder on the data disk.
//!
//! ```text
//!   container.json   what it is: written once, before a client learns of its id; unlinked first when it goes,
//!                    so that a folder without it is a half-made or half-removed one
//!   state.json       how it is: written at start and exit, and not synced: after a lost power a container is
//!                    taken for what its shim left behind
//! ```

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use chrono::{DateTime, Utc};
use holm_api::services::BoundPort;
use holm_api::{ContainerId, Digest, models};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::health::Health;
use super::mounts::{MountPoint, Mounted};
use super::state::{Life, RestartPolicy};
use crate::network::Endpoint;

const DEFINITION: &str = "container.json";
const STATUS: &str = "state.json";
const HEALTH: &str = "health.json";

/// What a container is. It changes only as a client asks for it: by another name, other limits, other networks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Definition {
    /// For its whole life.
    pub(crate) id: ContainerId,
    /// Without the slash.
    pub(crate) name: String,
    /// When.
    pub(crate) created: DateTime<Utc>,
    /// What it was made from.
    pub(crate) image: Origin,
    /// The client's wishes over the image's.
    pub(crate) config: models::ContainerConfig,
    /// How it is run.
    pub(crate) host: models::HostConfig,
    /// Wishes for its place on networks, by network name.
    pub(crate) endpoints: HashMap<String, models::EndpointSettings>,
    /// What it has mounted, by destination.
    #[serde(default)]
    pub(crate) mounts: Vec<MountPoint>,
    /// The program.
    pub(crate) path: String,
    /// Its arguments.
    pub(crate) args: Vec<String>,
}

/// The image of a container.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// Digest of the image's configuration.
    pub(crate) id: Digest,
    /// As the client typed it.
    pub(crate) reference: String,
    /// Its layers, the lowest first.
    pub(crate) diff_ids: Vec<Digest>,
}

impl Definition {
    /// The image that it is made of and those that it has mounted, with their layers.
    pub(crate) fn images(&self) -> impl Iterator<Item = (Digest, Vec<Digest>)> {
        let mounted = self.mounts.iter().filter_map(|mount| match &mount.what {
            Mounted::Image { id, diff_ids, .. } => Some((*id, diff_ids.clone())),
            _ => None,
        });
        std::iter::once((self.image.id, self.image.diff_ids.clone())).chain(mounted)
    }

    /// `--rm`.
    pub(crate) fn removes_itself(&self) -> bool {
        self.host.auto_remove == Some(true)
    }

    /// `-t`.
    pub(crate) fn has_terminal(&self) -> bool {
        self.config.tty == Some(true)
    }

    /// `--restart`, checked when the container was created.
    pub(crate) fn restart_policy(&self) -> RestartPolicy {
        use models::RestartPolicyNameEnum as Name;
        let Some(policy) = &self.host.restart_policy else { return RestartPolicy::No };
        match policy.name {
            Some(Name::ALWAYS) => RestartPolicy::Always,
            Some(Name::UNLESS_STOPPED) => RestartPolicy::UnlessStopped,
            Some(Name::ON_FAILURE) => {
                let most = policy.maximum_retry_count.and_then(|most| u32::try_from(most).ok());
                RestartPolicy::OnFailure(most.filter(|most| *most > 0))
            }
            _ => RestartPolicy::No,
        }
    }
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// By the rules.
    pub(crate) life: Life,
    /// Its places on networks while it runs.
    #[serde(default)]
    pub(crate) endpoints: Vec<Endpoint>,
    /// What the host computer has open for it.
    #[serde(default)]
    pub(crate) ports: Vec<BoundPort>,
}

/// Whether a write has to outlive a lost power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Synced before it is acknowledged.
    Durable,
    /// Written whole or not at all; a lost power may take it back.
    Atomic,
}

/// Writes what the container is.
pub(crate) fn write_definition(
    folder: &Path,
    definition: &Definition,
    durability: Durability,
) -> io::Result<()> {
    write(folder, DEFINITION, definition, durability)
}

/// Writes how it is.
pub(crate) fn write_status(folder: &Path, status: &Status) -> io::Result<()> {
    write(folder, STATUS, status, Durability::Atomic)
}

/// What its health check found in one of its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CheckedRun {
    /// When that run began.
    pub(crate) started: DateTime<Utc>,
    /// So far.
    pub(crate) health: Health,
}

/// Writes what its health check found.
pub(crate) fn write_health(folder: &Path, run: &CheckedRun) -> io::Result<()> {
    write(folder, HEALTH, run, Durability::Atomic)
}

/// Takes that back; `None` where nothing was found yet, or it is damaged: the next probe tells again.
pub(crate) fn read_health(folder: &Path) -> Option<CheckedRun> {
    read_json(&folder.join(HEALTH)).ok().flatten()
}

/// Takes the container back from the disk. `None` is a folder of none: half made, or half removed.
pub(crate) fn read(folder: &Path) -> io::Result<Option<(Definition, Status)>> {
    let Some(definition) = read_json(&folder.join(DEFINITION))? else { return Ok(None) };
    // Lost with the power, it is a container that was never started as far as anybody knows.
    let status = read_json(&folder.join(STATUS)).unwrap_or_default().unwrap_or_default();
    Ok(Some((definition, status)))
}

/// Removes a container's folder, its definition first.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(DEFINITION)) {
        Ok(()) => File::open(folder)?.sync_all()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write(folder: &Path, name: &str, value: &impl Serialize, durability: Durability) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.new"));
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if durability == Durability::Durable {
        file.sync_all()?;
    }
    fs::rename(temporary, folder.join(name))?;
    if durability == Durability::Durable {
        File::open(folder)?.sync_all()?;
        // The folder's own name has to last as well.
        if let Some(parent) = folder.parent() {
            File::open(parent)?.sync_all()?;
        }
    }
    Ok(())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::engine::health::HealthStatus;
    use crate::engine::state::Event;

    pub(crate) fn definition() -> Definition {
        Definition {
            id: "0123456789abcdef".repeat(4).parse().unwrap(),
            name: "web".to_owned(),
            created: DateTime::UNIX_EPOCH,
            image: Origin {
                id: format!("sha256:{}", "ab".repeat(32)).parse().unwrap(),
                reference: "busybox".to_owned(),
                diff_ids: Vec::new(),
            },
            config: models::ContainerConfig::default(),
            host: models::HostConfig::default(),
            endpoints: HashMap::new(),
            mounts: Vec::new(),
            path: "sh".to_owned(),
            args: Vec::new(),
        }
    }

    #[test]
    fn a_container_reads_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        write_definition(folder.path(), &definition(), Durability::Durable).unwrap();
        let mut status = Status::default();
        status.life.apply(Event::Start, RestartPolicy::No).unwrap();
        write_status(folder.path(), &status).unwrap();
        let (read_definition, read_status) = read(folder.path()).unwrap().unwrap();
        assert_eq!(read_definition.id, definition().id);
        assert_eq!(read_status, status);
    }

    #[test]
    fn a_folder_without_definition_is_no_container_and_a_torn_state_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap().is_none());
        write_definition(folder.path(), &definition(), Durability::Atomic).unwrap();
        fs::write(folder.path().join(STATUS), b"{\"life\":").unwrap();
        assert_eq!(read(folder.path()).unwrap().unwrap().1, Status::default());
    }

    #[test]
    fn what_a_health_check_found_reads_back_and_a_torn_one_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_health(folder.path()), None);
        let health = Health { status: HealthStatus::Unhealthy, failing_streak: 3, log: VecDeque::new() };
        let run = CheckedRun { started: DateTime::UNIX_EPOCH, health };
        write_health(folder.path(), &run).unwrap();
        assert_eq!(read_health(folder.path()), Some(run));
        fs::write(folder.path().join(HEALTH), b"{").unwrap();
        assert_eq!(read_health(folder.path()), None);
    }

    #[test]
    fn removing_twice_is_removing_once() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("container");
        fs::create_dir(&folder).unwrap();
        write_definition(&folder, &definition(), Durability::Atomic).unwrap();
        remove(&folder).unwrap();
        assert!(!folder.exists());
        remove(&folder).unwrap();
    }
}
