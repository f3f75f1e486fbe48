//! Files of the computer that containers have mounted, by themselves or as volumes that stand for a folder: the host
//! is asked to share each, a pump mounts it (or a relay listens, where it is a socket), and containers bind what is
//! mounted.
//!
//! ```text
//!   start:  Share ──► token? ──► <run>/shares/<number>/root is mounted ──► bound into the container
//!   exit:   Unshare ──► shares that nobody uses any more are unmounted
//! ```
//!
//! One share of a path serves all containers that want it in the same way, so that they see each other's changes at
//! once. The host knows who uses what, and an engine that was started again asks it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use holm_api::services::{Answer, Ask, Share, ShareId, Shared, SharedKind, User};
use nix::errno::Errno;
use rustix::mount::{MountFlags, UnmountFlags, unmount};

use super::mounts::{Bind, MountPoint, Mounted, is_engine_socket};
use super::records::Definition;
use super::volumes::blocking;
use super::{Engine, EngineError};
use crate::pump::{self, Plan};
use crate::services::ServiceError;
use crate::volume::{FileSystem, MountError, VolumeName};

/// Where in its folder a share is mounted.
pub(super) const PLACE: &str = "root";

/// Where the computer's files are for one container: by destination, folders that hold [`PLACE`].
#[derive(Debug, Default)]
pub(super) struct Shares(BTreeMap<String, PathBuf>);

impl Shares {
    /// The folder that holds what is mounted at `destination`.
    pub(super) fn folder(&self, destination: &str) -> Option<&Path> {
        self.0.get(destination).map(PathBuf::as_path)
    }
}

/// Which of a container's mounts are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of them.
    All,
    /// Volumes that get what the image has.
    Filled,
}

impl Scope {
    fn has(self, mount: &MountPoint) -> bool {
        self == Self::All || matches!(mount.what, Mounted::Volume { copies: true, .. })
    }
}

/// What of the computer's a mount has.
enum Computers<'a> {
    Bind(&'a Bind),
    Volume(&'a VolumeName, FileSystem),
}

/// Why something of the computer's is not mounted.
enum Obstacle {
    /// The host's answer, or that there is none.
    Host(ServiceError),
    /// It is no folder.
    NoFolder,
    /// On our side.
    Here(EngineError),
}

impl Engine {
    /// Whether something is there that a new container wants to bind and that is not made at its start.
    pub(super) async fn check_share(&self, path: &str) -> Result<(), EngineError> {
        self.services().tell(Ask::CheckPath(path.to_owned())).await.map_err(failed)
    }

    /// Has all that a container binds shared and mounted. Where that fails, nothing is.
    pub(super) async fn mount_shares(
        &self,
        definition: &Definition,
        look: u64,
        scope: Scope,
    ) -> Result<Shares, EngineError> {
        let mut shares = Shares::default();
        for mount in definition.mounts.iter().filter(|mount| scope.has(mount)) {
            let Some(computers) = self.computers(mount) else { continue };
            let user = User { container: definition.id.clone(), look };
            let shared = match computers {
                Computers::Bind(bind) => {
                    let (path, read_only) = (bind.source.clone(), !mount.writable);
                    let wish = Share { user, path, read_only, creates: bind.creates };
                    self.mount_share(wish, |_| true).await.map_err(EngineError::from)
                }
                Computers::Volume(name, file_system) => {
                    self.mount_shared_volume(name, &file_system, mount.writable, user).await
                }
            };
            match shared {
                Ok(folder) => drop(shares.0.insert(mount.destination.clone(), folder)),
                Err(error) => {
                    self.unmount_shares(definition, look).await;
                    return Err(error);
                }
            }
        }
        Ok(shares)
    }

    /// What the host serves of a mount; `None` for what is not the computer's, or is bound as it is.
    fn computers<'a>(&self, mount: &'a MountPoint) -> Option<Computers<'a>> {
        match &mount.what {
            _ if self.plain_computer().is_some() => None,
            Mounted::Bind(bind) if !is_engine_socket(bind) => Some(Computers::Bind(bind)),
            Mounted::Volume { name, .. } => {
                self.shared_volume(name).map(|file_system| Computers::Volume(name, file_system))
            }
            Mounted::Bind(_) | Mounted::Tmpfs { .. } | Mounted::Image { .. } => None,
        }
    }

    /// What a volume stands for, where that is a folder of the computer's that the host serves.
    pub(super) fn shared_volume(&self, name: &VolumeName) -> Option<FileSystem> {
        let file_system = self.volumes().get(name.as_str()).ok()?.file_system()?;
        (file_system.is_bind() && self.plain_computer().is_none()).then_some(file_system)
    }

    /// As if the kernel mounted the folder at the volume's data, also in what is said when it cannot be.
    async fn mount_shared_volume(
        &self,
        name: &VolumeName,
        file_system: &FileSystem,
        writable: bool,
        user: User,
    ) -> Result<PathBuf, EngineError> {
        let read_only = !writable || file_system.flags.contains(MountFlags::RDONLY);
        let wish = Share { user, path: file_system.device.clone(), read_only, creates: false };
        let data = self.volumes().data(name);
        let why = match self.mount_share(wish, |kind| kind == SharedKind::Folder).await {
            Ok(folder) => return Ok(folder),
            Err(Obstacle::Host(ServiceError::Absent(_))) => Errno::ENOENT,
            Err(Obstacle::NoFolder) => Errno::ENOTDIR,
            Err(other) => return Err(other.into()),
        };
        let why = MountError::kernel(file_system, &data, why);
        Err(EngineError::Internal(format!("error while mounting volume '{}': {why}", data.display())))
    }

    async fn mount_share(
        &self,
        wish: Share,
        will_do: impl FnOnce(SharedKind) -> bool,
    ) -> Result<PathBuf, Obstacle> {
        // One at a time: a second container must not find a share that is about to be mounted, or unmounted.
        let _alone = self.sharing.lock().await;
        let path = wish.path.clone();
        let shared = match self.services().ask(Ask::Share(wish)).await.map_err(Obstacle::Host)? {
            Answer::Shared(shared) => shared,
            _ => return Err(Obstacle::Host(ServiceError::Misplaced)),
        };
        let Shared { share, kind, token } = shared;
        if !will_do(kind) {
            // Our callers take back all of a container's shares when one fails.
            return Err(Obstacle::NoFolder);
        }
        let folder = self.share_folder(share);
        let Some(token) = token else { return Ok(folder) };
        let prepared = folder.clone();
        blocking(move || {
            prepare(&prepared, kind)
                .map_err(EngineError::system("make a place for a folder of the computer's"))
        })
        .await
        .map_err(Obstacle::Here)?;
        let plan = Plan { at: folder.join(PLACE), kind, token, sockets: self.sockets.clone() };
        pump::client::start(self.program(), &plan)
            .await
            .map_err(|error| EngineError::Internal(format!("error while mounting {path}: {error}")))
            .map_err(Obstacle::Here)?;
        Ok(folder)
    }

    /// The container has ended, or the look is over.
    pub(super) async fn unmount_shares(&self, definition: &Definition, look: u64) {
        if !definition.mounts.iter().any(|mount| self.computers(mount).is_some()) {
            return;
        }
        let _alone = self.sharing.lock().await;
        let user = User { container: definition.id.clone(), look };
        match self.services().ask(Ask::Unshare(user)).await {
            Ok(Answer::Ended(ended)) => self.clear_shares(ended).await,
            Ok(_) => tracing::warn!("{}", ServiceError::Misplaced),
            Err(error) => tracing::warn!("{}: its shares stay: {error}", definition.id.short()),
        }
    }

    /// Unmounts what an earlier engine left and the host serves no more.
    pub(super) async fn clear_ended_shares(&self) {
        let _alone = self.sharing.lock().await;
        let folder = self.shares_folder();
        let found = blocking(move || match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => {
                let entries = entries.map_err(EngineError::system("list the shares"))?;
                let names = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
                Ok(names.map(ShareId).collect())
            }
        });
        let asked = match found.await {
            Ok(found) if found.is_empty() => return,
            Ok(found) => self.services().ask(Ask::Which(found)).await,
            Err(error) => return tracing::warn!("{error}"),
        };
        match asked {
            Ok(Answer::Ended(ended)) => self.clear_shares(ended).await,
            Ok(_) => tracing::warn!("{}", ServiceError::Misplaced),
            Err(error) => tracing::warn!("shares that nobody uses may stay mounted: {error}"),
        }
    }

    async fn clear_shares(&self, ended: Vec<ShareId>) {
        let folders: Vec<_> = ended.into_iter().map(|share| self.share_folder(share)).collect();
        let cleared = blocking(move || {
            for folder in folders {
                clear(&folder).map_err(EngineError::system(format!("clear away {}", folder.display())))?;
            }
            Ok(())
        });
        if let Err(error) = cleared.await {
            tracing::warn!("{error}");
        }
    }

    fn shares_folder(&self) -> PathBuf {
        self.layout().run().join("shares")
    }

    fn share_folder(&self, share: ShareId) -> PathBuf {
        self.shares_folder().join(share.0.to_string())
    }
}

/// For `map_err`.
fn failed(error: ServiceError) -> EngineError {
    match error {
        ServiceError::Refused(message) | ServiceError::Absent(message) => EngineError::Invalid(message),
        other => EngineError::Unavailable(other.to_string()),
    }
}

impl From<Obstacle> for EngineError {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Host(error) => failed(error),
            Obstacle::NoFolder => Self::Invalid("what is to be mounted is no folder".to_owned()),
            Obstacle::Here(error) => error,
        }
    }
}

/// An empty place, whatever an earlier mount left there.
fn prepare(folder: &Path, kind: SharedKind) -> io::Result<()> {
    clear(folder)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let place = folder.join(PLACE);
    match kind {
        SharedKind::Folder => fs::create_dir(place),
        SharedKind::File => fs::File::create(place).map(drop),
        // Made by who listens.
        SharedKind::Socket => Ok(()),
    }
}

/// Takes it out of sight at once; a server that is gone must not keep us waiting.
fn clear(folder: &Path) -> io::Result<()> {
    let place = folder.join(PLACE);
    loop {
        // By force: whoever still asks for something gets an error, also in other mount namespaces.
        match unmount(&place, UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            // Nothing is mounted there, or nothing is there at all.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => break,
            Err(error) => return Err(error.into()),
        }
    }
    // Never with what is in it: were it mounted still, that would be the user's files.
    absent_is_fine(fs::remove_dir(&place).or_else(|error| match error.kind() {
        io::ErrorKind::NotADirectory => fs::remove_file(&place),
        _ => Err(error),
    }))?;
    absent_is_fine(fs::remove_dir(folder))
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_made_anew_whatever_was_there() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("shares/7");
        clear(&folder).unwrap();
        prepare(&folder, SharedKind::File).unwrap();
        assert!(folder.join(PLACE).is_file());
        prepare(&folder, SharedKind::Folder).unwrap();
        assert!(folder.join(PLACE).is_dir());
        prepare(&folder, SharedKind::Socket).unwrap();
        assert!(!folder.join(PLACE).exists());
        clear(&folder).unwrap();
        assert!(!folder.exists());
    }
}
