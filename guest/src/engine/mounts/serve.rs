//! A container's mounts while it runs: what its shim takes, and the OCI mounts made of that.

use std::path::{Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::{Mount, MountBuilder};
use rustix::mount::MountFlags;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{MountPoint, Mounted, Propagation, is_engine_socket, tmpfs};
use crate::engine::records::Definition;
use crate::engine::shares::{PLACE, Scope, Shares};
use crate::engine::volumes::blocking;
use crate::engine::{Engine, EngineError};
use crate::layout::ENGINE_SOCKET;
use crate::shim::protocol::{Source, SourcePropagation};
use crate::volume::VolumeName;

/// In the place of a look's number.
pub(in crate::engine) const CONTAINER_ITSELF: u64 = 0;
/// How long a volume's server may take to answer.
const MOUNT_DEADLINE: Duration = Duration::from_secs(60);

/// Flags of a volume that matter where a container uses it, as runtimes call them.
const FLAGS: [(MountFlags, &str); 3] =
    [(MountFlags::NOSUID, "nosuid"), (MountFlags::NODEV, "nodev"), (MountFlags::NOEXEC, "noexec")];

/// For a container's shim.
#[derive(Debug, Default)]
pub(in crate::engine) struct Served {
    /// What it takes before the container is made.
    pub(in crate::engine) sources: Vec<Source>,
    /// What the container has mounted, mostly of these.
    pub(in crate::engine) mounts: Vec<Mount>,
}

impl Engine {
    /// Mounts the container's volumes and says what its shim is to do. Where it fails, no volume stays mounted.
    pub(in crate::engine) async fn serve_mounts(
        &self,
        definition: &Definition,
        bundle: &Path,
    ) -> Result<Served, EngineError> {
        self.make_missing_folders(&definition.mounts).await?;
        let served = async {
            self.mount_volumes(definition).await?;
            let shares = self.mount_shares(definition, CONTAINER_ITSELF, Scope::All).await?;
            self.served(definition, bundle, &shares)
        };
        let served = served.await;
        if served.is_err() {
            self.unmount_volumes(definition).await;
        }
        served
    }

    async fn mount_volumes(&self, definition: &Definition) -> Result<(), EngineError> {
        for mount in &definition.mounts {
            let Mounted::Volume { name, .. } = &mount.what else { continue };
            self.mount_volume(name, definition.id.as_str()).await?;
            self.tell_volume(
                name,
                "mount",
                [
                    ("container", definition.id.to_string()),
                    ("destination", mount.destination.clone()),
                    ("read/write", mount.writable.to_string()),
                    ("propagation", String::new()),
                ],
            );
        }
        Ok(())
    }

    /// On a thread of its own: a server that does not answer must not take those away that others wait for.
    pub(in crate::engine) async fn mount_volume(
        &self,
        name: &VolumeName,
        user: &str,
    ) -> Result<(), EngineError> {
        let failed = |error: &dyn std::fmt::Display| {
            EngineError::Internal(format!(
                "error while mounting volume '{}': {error}",
                self.volumes().data(name).display()
            ))
        };
        if self.volumes().get(name.as_str())?.file_system().is_none() || self.shared_volume(name).is_some() {
            return Ok(());
        }
        let (answer, mounted) = oneshot::channel();
        let (volumes, computer) = (self.volumes.clone(), self.plain_computer().map(Path::to_owned));
        let (wanted, whose) = (name.clone(), user.to_owned());
        let work = move || drop(answer.send(volumes.mount(&wanted, &whose, computer.as_deref())));
        std::thread::Builder::new().name("mount".to_owned()).spawn(work).map_err(|error| failed(&error))?;
        match timeout(MOUNT_DEADLINE, mounted).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(failed(&error)),
            Ok(Err(_gone)) => Err(failed(&"the attempt was given up")),
            Err(_) => Err(failed(&format!("no answer within {} s", MOUNT_DEADLINE.as_secs()))),
        }
    }

    /// The container has ended, or did not start.
    pub(in crate::engine) async fn unmount_volumes(&self, definition: &Definition) {
        self.unmount_shares(definition, CONTAINER_ITSELF).await;
        for mount in &definition.mounts {
            let Mounted::Volume { name, .. } = &mount.what else { continue };
            let (volumes, wanted, user) = (self.volumes.clone(), name.clone(), definition.id.to_string());
            let unmounted = blocking(move || {
                volumes.unmount(&wanted, &user).map_err(EngineError::system("unmount a volume"))
            });
            if let Err(error) = unmounted.await {
                tracing::warn!("{}: {error}", definition.id.short());
            }
            self.tell_volume(name, "unmount", [("container", definition.id.to_string())]);
        }
    }

    /// What stands for the container's mounts where it is not running: the same sources, elsewhere.
    pub(in crate::engine) fn served(
        &self,
        definition: &Definition,
        bundle: &Path,
        shares: &Shares,
    ) -> Result<Served, EngineError> {
        let mut served = Served::default();
        for mount in &definition.mounts {
            if let Mounted::Tmpfs { options } = &mount.what {
                served.mounts.push(memory(&mount.destination, options)?);
                continue;
            }
            let target = bundle.join("mounts").join(served.sources.len().to_string());
            served.mounts.push(bound(mount, &target, self.flags_of(mount)));
            served.sources.push(self.source(mount, target, shares));
        }
        for (target, options) in definition.host.tmpfs.iter().flatten() {
            served.mounts.push(memory(&super::parse::clean(target), options)?);
        }
        Ok(served)
    }

    /// Where the files of a volume are while it is mounted; `None` for what is no volume.
    pub(in crate::engine) fn data_of(&self, mount: &MountPoint, shares: &Shares) -> Option<PathBuf> {
        let Mounted::Volume { name, .. } = &mount.what else { return None };
        if self.shared_volume(name).is_none() {
            return Some(self.volumes().data(name));
        }
        // Of nobody's concern where it is mounted already, or nobody looks.
        Some(shares.folder(&mount.destination).unwrap_or(Path::new("/nowhere")).join(PLACE))
    }

    /// What a volume's own options say of the folder of the computer's that it stands for.
    fn flags_of(&self, mount: &MountPoint) -> MountFlags {
        match &mount.what {
            Mounted::Volume { name, .. } => {
                self.shared_volume(name).map_or(MountFlags::empty(), |file_system| file_system.flags)
            }
            _ => MountFlags::empty(),
        }
    }

    fn source(&self, mount: &MountPoint, target: PathBuf, shares: &Shares) -> Source {
        let destination = PathBuf::from(&mount.destination);
        match &mount.what {
            Mounted::Bind(bind) if is_engine_socket(bind) => Source {
                root: self.layout().run().to_owned(),
                path: PathBuf::from(ENGINE_SOCKET),
                shown: bind.source.clone(),
                destination,
                target,
                recursive: false,
                propagation: SourcePropagation::Private,
                layers: None,
            },
            Mounted::Bind(bind) => Source {
                root: match self.plain_computer() {
                    Some(computer) => computer.to_owned(),
                    // Of nobody's concern where it is mounted already, or nobody looks.
                    None => shares.folder(&mount.destination).unwrap_or(Path::new("/nowhere")).to_owned(),
                },
                path: PathBuf::from(match self.plain_computer() {
                    Some(_) => bind.source.as_str(),
                    None => PLACE,
                }),
                shown: bind.source.clone(),
                destination,
                target,
                recursive: !bind.flat,
                propagation: match bind.propagation {
                    Propagation::Private | Propagation::RecursivePrivate => SourcePropagation::Private,
                    Propagation::Slave | Propagation::RecursiveSlave => SourcePropagation::Slave,
                    Propagation::Shared | Propagation::RecursiveShared => SourcePropagation::Shared,
                },
                layers: None,
            },
            Mounted::Volume { name, subpath, .. } => {
                let data = self.volumes().data(name);
                let shown = if subpath.is_empty() { data.clone() } else { data.join(subpath) };
                Source {
                    root: self.data_of(mount, shares).unwrap_or(data),
                    path: PathBuf::from(subpath),
                    shown: shown.display().to_string(),
                    destination,
                    target,
                    recursive: true,
                    propagation: SourcePropagation::Private,
                    layers: None,
                }
            }
            Mounted::Image { reference, diff_ids, subpath, .. } => Source {
                // Mounted by the shim, beside the target.
                root: target.with_extension("image"),
                path: PathBuf::from(subpath),
                shown: match subpath.as_str() {
                    "" => reference.clone(),
                    path => format!("{reference}/{path}"),
                },
                destination,
                target,
                recursive: false,
                propagation: SourcePropagation::Private,
                layers: Some(self.layers().lower_dirs(diff_ids)),
            },
            Mounted::Tmpfs { .. } => unreachable!("has no source"),
        }
    }
}

fn bound(mount: &MountPoint, source: &Path, flags: MountFlags) -> Mount {
    let (flat, top) = match &mount.what {
        Mounted::Bind(bind) => (bind.flat, bind.read_only_top),
        _ => (false, false),
    };
    let mut options = vec![if flat { "bind" } else { "rbind" }.to_owned()];
    for (_, word) in FLAGS.into_iter().filter(|(flag, _)| flags.contains(*flag)) {
        options.push(word.to_owned());
    }
    if !mount.writable || flags.contains(MountFlags::RDONLY) {
        // `rro` reaches what is mounted below.
        options.push(if top { "ro" } else { "rro" }.to_owned());
    }
    built(&mount.destination, "bind", source, options)
}

fn memory(destination: &str, options: &str) -> Result<Mount, EngineError> {
    let options = tmpfs::merged(options).map_err(EngineError::Invalid)?;
    Ok(built(destination, "tmpfs", Path::new("tmpfs"), options))
}

fn built(destination: &str, kind: &str, source: &Path, options: Vec<String>) -> Mount {
    let built =
        MountBuilder::default().destination(destination).typ(kind).source(source).options(options).build();
    built.expect("the destination is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_volumes_own_options_forbid_no_mount_of_it_allows() {
        let mount = MountPoint {
            destination: "/data".to_owned(),
            what: Mounted::Tmpfs { options: String::new() },
            writable: true,
            mode: String::new(),
        };
        let options = |flags| bound(&mount, Path::new("/source"), flags).options().clone().unwrap();
        assert_eq!(options(MountFlags::BIND), ["rbind"]);
        let forbidding = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOEXEC;
        assert_eq!(options(forbidding), ["rbind", "noexec", "rro"]);
    }
}
