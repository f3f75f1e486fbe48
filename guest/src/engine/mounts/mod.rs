//! What a container has mounted beside its root: folders of the computer, volumes, tmpfs. Decided once, when it is
//! created, in moby's order: what other containers have, `-v`, `--mount`, and last what the image wants.
//!
//! ```text
//!   create:  parse ──► volumes are made and kept ──► populate from the image
//!   start:   volumes are mounted ──► the shim takes every source ──► OCI mounts
//!   exit:    volumes are unmounted
//!   remove:  volumes are released; anonymous ones go with `-v` and `--rm`
//! ```

mod parse;
mod serve;
mod tmpfs;

pub(super) use parse::clean;
pub(super) use serve::{CONTAINER_ITSELF, Served};

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use holm_api::link::Binds;
use holm_api::models::{ContainerConfig, HostConfig};
use holm_api::{ContainerRef, Digest};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::records::Definition;
use super::volumes::blocking;
use super::{Engine, EngineError};
use crate::image::Hold;
use crate::inside;
use crate::volume::{CreateVolume, VolumeName};
use parse::{Wanted, WantedVolume, What};

/// moby's word of images that are mounted.
const IMAGE_WARNING: &str = "Image mount is an experimental feature";
/// The sockets by which clients know an engine. Bound into a container, they are ours.
const ENGINE_SOCKETS: [&str; 2] = ["/var/run/docker.sock", "/run/docker.sock"];

/// One of a container's mounts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPoint {
    /// Where: absolute, clean, not the root.
    pub(crate) destination: String,
    /// What.
    pub(crate) what: Mounted,
    /// Whether the container may write.
    pub(crate) writable: bool,
    /// As the client wrote it, for inspect.
    pub(crate) mode: String,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mounted {
    /// Something of the computer's.
    Bind(Bind),
    /// A volume, or a folder in it.
    Volume {
        /// Which.
        name: VolumeName,
        /// Empty for all of it.
        subpath: String,
        /// Whether the client named it: `rm -v` leaves it.
        named: bool,
        /// Whether it gets what the image has at its place, while it is empty.
        copies: bool,
    },
    /// Memory.
    Tmpfs {
        /// As mount(8) takes them.
        options: String,
    },
    /// The files of an image, to be read.
    Image {
        /// As the client typed it.
        reference: String,
        /// What it meant when the container was created.
        id: Digest,
        /// Its layers, the lowest first.
        diff_ids: Vec<Digest>,
        /// Empty for all of it.
        subpath: String,
    },
}

/// A file or folder of the computer's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bind {
    /// As the computer calls it.
    pub(crate) source: String,
    /// Whether a missing one is made, a folder, at every start.
    pub(crate) creates: bool,
    /// What becomes of mounts made in it later.
    pub(crate) propagation: Propagation,
    /// Without what is mounted in it.
    pub(crate) flat: bool,
    /// Read-only, but not what is mounted in it.
    pub(crate) read_only_top: bool,
}

/// Whether mounts made later are seen on the other side (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Propagation {
    /// Neither way.
    Private,
    /// Nor for what is mounted below.
    #[default]
    RecursivePrivate,
    /// From the computer to the container.
    Slave,
    /// Also below.
    RecursiveSlave,
    /// Both ways.
    Shared,
    /// Also below.
    RecursiveShared,
}

impl MountPoint {
    /// Whether it is of the volume, or of the folder of the computer's, that is called so.
    pub(crate) fn is_of(&self, wanted: &str) -> bool {
        match &self.what {
            Mounted::Bind(bind) => bind.source == wanted,
            Mounted::Volume { name, .. } => name.as_str() == wanted,
            Mounted::Image { reference, .. } => reference == wanted,
            Mounted::Tmpfs { .. } => false,
        }
    }
}

impl Propagation {
    /// By the word that clients use.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "private" => Self::Private,
            "rprivate" => Self::RecursivePrivate,
            "slave" => Self::Slave,
            "rslave" => Self::RecursiveSlave,
            "shared" => Self::Shared,
            "rshared" => Self::RecursiveShared,
            _ => return None,
        })
    }

    /// The word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RecursivePrivate => "rprivate",
            Self::Slave => "slave",
            Self::RecursiveSlave => "rslave",
            Self::Shared => "shared",
            Self::RecursiveShared => "rshared",
        }
    }
}

/// What becomes of volumes that nobody named when their container goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnonymousVolumes {
    /// They stay, for a prune to find.
    Keep,
    /// They go with it: `rm -v`, `--rm`.
    Remove,
}

/// Checks what a client asks for, as far as that needs neither disk nor image; `-v` and `--volumes-from` are looked at
/// when the container is made, as moby does it. Returns warnings.
pub(super) fn check(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<String>, EngineError> {
    let mut warnings = Vec::new();
    for mount in host.mounts.iter().flatten() {
        if matches!(parse::mount(mount)?.what, What::Image { .. }) {
            warnings.push(IMAGE_WARNING.to_owned());
        }
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        parse::destination(target).and_then(|_| tmpfs::merged(options)).map_err(EngineError::Invalid)?;
    }
    for target in config.volumes.iter().flatten() {
        parse::destination(target).map_err(EngineError::Invalid)?;
    }
    Ok(warnings)
}

/// `-v` and `--mount`, no place twice.
fn wanted(host: &HostConfig) -> Result<Vec<Wanted>, EngineError> {
    let driver = host.volume_driver.as_deref().unwrap_or_default();
    let mut places = BTreeSet::new();
    let tmpfs = host.tmpfs.iter().flatten().map(|(target, _)| parse::clean(target)).collect::<BTreeSet<_>>();
    let mut all = Vec::new();
    let binds = host.binds.iter().flatten().map(|raw| parse::bind(raw, driver));
    let mounts = host.mounts.iter().flatten().map(parse::mount);
    for one in binds.chain(mounts) {
        let mut one = one?;
        if tmpfs.contains(&one.destination) || !places.insert(one.destination.clone()) {
            return Err(EngineError::Invalid(format!("Duplicate mount point: {}", one.destination)));
        }
        if matches!(one.what, What::Volume(_)) && one.mode.is_empty() {
            // As if SELinux were on; clients see it.
            one.mode = "z".to_owned();
        }
        all.push(one);
    }
    Ok(all)
}

impl Engine {
    /// Decides what a new container has mounted; its volumes exist from here on and are kept for it, and so are
    /// images' layers by `holds`. Where that fails, nothing is.
    pub(super) async fn take_mounts(
        &self,
        definition: &Definition,
        holds: &mut Vec<Hold>,
    ) -> Result<Vec<MountPoint>, EngineError> {
        let mut taken = BTreeMap::new();
        let done = self.take_into(&mut taken, definition, holds).await;
        let mounts: Vec<MountPoint> = taken.into_values().collect();
        match done {
            Ok(()) => Ok(mounts),
            Err(error) => {
                self.release_mounts(definition, &mounts, AnonymousVolumes::Remove).await;
                Err(error)
            }
        }
    }

    async fn take_into(
        &self,
        taken: &mut BTreeMap<String, MountPoint>,
        definition: &Definition,
        holds: &mut Vec<Hold>,
    ) -> Result<(), EngineError> {
        let (config, host) = (&definition.config, &definition.host);
        let keeper = definition.id.as_str();
        for text in host.volumes_from.iter().flatten() {
            let (container, writable) = parse::volumes_from(text)?;
            let found = self.find(&ContainerRef(container.to_owned()));
            let found = found.map_err(|error| EngineError::Invalid(error.to_string()))?;
            for mount in &found.definition().mounts {
                let mut mount = mount.clone();
                mount.writable &= writable;
                if let Mounted::Volume { name, copies, .. } = &mut mount.what {
                    *copies = false;
                    self.volumes().keep(name, keeper)?;
                }
                taken.insert(mount.destination.clone(), mount);
            }
        }
        for wanted in wanted(host)? {
            let mount = self.take(wanted, keeper, holds).await?;
            taken.insert(mount.destination.clone(), mount);
        }
        let tmpfs: BTreeSet<String> =
            host.tmpfs.iter().flatten().map(|(target, _)| parse::clean(target)).collect();
        for target in config.volumes.iter().flatten() {
            let wanted = parse::anonymous(target);
            // Not an error: the image wants some volume there, and has one.
            if wanted.destination != "/"
                && !taken.contains_key(&wanted.destination)
                && !tmpfs.contains(&wanted.destination)
            {
                let mount = self.take(wanted, keeper, holds).await?;
                taken.insert(mount.destination.clone(), mount);
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        wanted: Wanted,
        keeper: &str,
        holds: &mut Vec<Hold>,
    ) -> Result<MountPoint, EngineError> {
        let Wanted { destination, what, writable, mode } = wanted;
        let what = match what {
            What::Tmpfs { options } => Mounted::Tmpfs { options },
            What::Bind(bind) => {
                self.check_bind(&bind).await?;
                Mounted::Bind(bind)
            }
            What::Volume(WantedVolume { name, driver, labels, options, subpath, copies }) => {
                let named = name.is_some();
                let wish = CreateVolume { name, driver, labels, options };
                let volume = self.create_volume(wish, Some(keeper.to_owned())).await?;
                Mounted::Volume { name: volume.name.clone(), subpath, named, copies }
            }
            What::Image { reference, subpath } => {
                let image = self.images().find(&reference)?;
                let gone = || EngineError::NoSuchImage(reference.clone());
                holds.push(self.images().hold(&image).ok_or_else(gone)?);
                Mounted::Image { id: image.id(), diff_ids: image.diff_ids(), reference, subpath }
            }
        };
        Ok(MountPoint { destination, what, writable, mode })
    }

    async fn check_bind(&self, bind: &Bind) -> Result<(), EngineError> {
        if bind.creates || is_engine_socket(bind) {
            return Ok(());
        }
        let Some(computer) = self.plain_computer() else { return self.check_share(&bind.source).await };
        let refuse =
            |why: String| EngineError::Invalid(format!("invalid mount config for type \"bind\": {why}"));
        let found = inside::root(computer)
            .and_then(|root| inside::find(&root, Path::new(&bind.source), OFlags::PATH));
        match found {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(refuse(format!("bind source path does not exist: {}", bind.source)))
            }
            Err(error) => Err(refuse(format!("stat {}: {error}", bind.source))),
        }
    }

    /// A container that an earlier engine made misses its volumes from here on.
    pub(super) fn keep_mounts(&self, definition: &Definition, runs: bool) {
        for mount in &definition.mounts {
            let Mounted::Volume { name, .. } = &mount.what else { continue };
            if let Err(error) = self.volumes().keep(name, definition.id.as_str()) {
                tracing::warn!("{}: {error}", definition.id.short());
            }
            if runs && self.shared_volume(name).is_none() {
                self.volumes().adopt(name, definition.id.as_str());
            }
        }
    }

    /// The container goes, or was never made.
    pub(super) async fn release_mounts(
        &self,
        definition: &Definition,
        mounts: &[MountPoint],
        anonymous: AnonymousVolumes,
    ) {
        let mut going = Vec::new();
        for mount in mounts {
            let Mounted::Volume { name, named, .. } = &mount.what else { continue };
            self.volumes().release(name, definition.id.as_str());
            if !named && anonymous == AnonymousVolumes::Remove {
                going.push(name);
            }
        }
        for name in going {
            match self.remove_volume(name.as_str(), true).await {
                // Another container has it as well.
                Err(EngineError::Volume(error))
                    if matches!(error.problem, crate::volume::Problem::InUse(_)) => {}
                Err(error) => tracing::warn!("{}: {error}", definition.id.short()),
                Ok(()) => {}
            }
        }
    }

    /// Mounts of a container as `inspect` and `ps` show them: type, name, source, driver and propagation.
    pub(crate) fn shown_mount(&self, mount: &MountPoint) -> ShownMount {
        match &mount.what {
            Mounted::Bind(bind) => ShownMount {
                kind: "bind",
                name: None,
                source: bind.source.clone(),
                propagation: bind.propagation.word(),
            },
            Mounted::Volume { name, .. } => ShownMount {
                kind: "volume",
                name: Some(name.to_string()),
                source: self.volumes().data(name).display().to_string(),
                propagation: "",
            },
            Mounted::Tmpfs { .. } => {
                ShownMount { kind: "tmpfs", name: None, source: String::new(), propagation: "" }
            }
            Mounted::Image { reference, id, .. } => ShownMount {
                kind: "image",
                name: Some(reference.clone()),
                source: id.to_string(),
                propagation: Propagation::default().word(),
            },
        }
    }

    /// Where containers bind folders of the computer's as they are; `None`: the host serves them.
    pub(super) fn plain_computer(&self) -> Option<&Path> {
        self.computer().filter(|_| self.binds == Binds::Plain)
    }

    /// Makes the folders of the computer's that `-v` names and that are missing, where they are bound as they are.
    async fn make_missing_folders(&self, mounts: &[MountPoint]) -> Result<(), EngineError> {
        let Some(computer) = self.plain_computer().map(Path::to_owned) else { return Ok(()) };
        let missing: Vec<String> = mounts
            .iter()
            .filter_map(|mount| match &mount.what {
                Mounted::Bind(bind) if bind.creates && !is_engine_socket(bind) => Some(bind.source.clone()),
                _ => None,
            })
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        blocking(move || {
            let root = inside::root(&computer).map_err(EngineError::system("see this computer's folders"))?;
            for source in missing {
                if inside::find(&root, Path::new(&source), OFlags::PATH).is_ok() {
                    continue;
                }
                inside::make_folder(&root, Path::new(&source)).map_err(|cause| {
                    EngineError::Internal(format!(
                        "error while creating mount source path '{source}': mkdir {source}: {cause}"
                    ))
                })?;
            }
            Ok(())
        })
        .await
    }
}

/// A mount as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ShownMount {
    /// `bind`, `volume`, `tmpfs`, `image`.
    pub(crate) kind: &'static str,
    /// Of a volume or an image.
    pub(crate) name: Option<String>,
    /// A path, an image's id, or nothing.
    pub(crate) source: String,
    /// A word, or nothing.
    pub(crate) propagation: &'static str,
}

/// Whether the bind is of the engine's own socket.
pub(super) fn is_engine_socket(bind: &Bind) -> bool {
    ENGINE_SOCKETS.contains(&bind.source.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(binds: &[&str]) -> HostConfig {
        let binds = binds.iter().map(|bind| (*bind).to_owned()).collect();
        HostConfig { binds: Some(binds), ..HostConfig::default() }
    }

    #[test]
    fn no_place_is_taken_twice() {
        let refused = |host: &HostConfig| wanted(host).unwrap_err().to_string();
        assert_eq!(refused(&host(&["a1:/data", "/srv:/data/"])), "Duplicate mount point: /data");
        let mut with_tmpfs = host(&["a1:/run"]);
        with_tmpfs.tmpfs = Some([("/run/".to_owned(), String::new())].into());
        assert_eq!(refused(&with_tmpfs), "Duplicate mount point: /run");
    }

    #[test]
    fn a_volume_shows_a_mode_even_where_none_was_given() {
        let modes: Vec<_> = wanted(&host(&["a1:/a", "/srv:/b", "a2:/c:ro"]))
            .unwrap()
            .into_iter()
            .map(|wanted| wanted.mode)
            .collect();
        assert_eq!(modes, ["z", "", "ro"]);
    }

    #[test]
    fn tmpfs_and_volumes_are_checked_before_anything_is_made() {
        let mut host = host(&[]);
        host.tmpfs = Some([("/".to_owned(), String::new())].into());
        assert!(check(&ContainerConfig::default(), &host).is_err());
        host.tmpfs = Some([("/run".to_owned(), "colour=red".to_owned())].into());
        assert!(check(&ContainerConfig::default(), &host).is_err());
        let config = ContainerConfig { volumes: Some(vec!["data".to_owned()]), ..ContainerConfig::default() };
        assert!(check(&config, &HostConfig::default()).is_err());
    }
}
