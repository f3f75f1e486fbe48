//! Files of the computer that containers have mounted: the host is asked to share each, a pump mounts it (or a relay
//! listens, where it is a socket), and containers bind what is mounted.
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
use rustix::mount::{UnmountFlags, unmount};

use super::mounts::{MountPoint, Mounted, is_engine_socket};
use super::records::Definition;
use super::volumes::blocking;
use super::{Engine, EngineError};
use crate::pump::{self, Plan};
use crate::services::ServiceError;

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
    ) -> Result<Shares, EngineError> {
        let mut shares = Shares::default();
        if self.plain_computer().is_some() {
            return Ok(shares);
        }
        for mount in definition.mounts.iter().filter(|mount| is_shared(mount)) {
            let Mounted::Bind(bind) = &mount.what else { continue };
            let user = User { container: definition.id.clone(), look };
            let wish =
                Share { user, path: bind.source.clone(), read_only: !mount.writable, creates: bind.creates };
            match self.mount_share(wish).await {
                Ok(folder) => drop(shares.0.insert(mount.destination.clone(), folder)),
                Err(error) => {
                    self.unmount_shares(definition, look).await;
                    return Err(error);
                }
            }
        }
        Ok(shares)
    }

    async fn mount_share(&self, wish: Share) -> Result<PathBuf, EngineError> {
        // One at a time: a second container must not find a share that is about to be mounted, or unmounted.
        let _alone = self.sharing.lock().await;
        let path = wish.path.clone();
        let shared = match self.services().ask(Ask::Share(wish)).await.map_err(failed)? {
            Answer::Shared(shared) => shared,
            _ => return Err(failed(ServiceError::Misplaced)),
        };
        let Shared { share, kind, token } = shared;
        let folder = self.share_folder(share);
        let Some(token) = token else { return Ok(folder) };
        let prepared = folder.clone();
        blocking(move || {
            prepare(&prepared, kind)
                .map_err(EngineError::system("make a place for a folder of the computer's"))
        })
        .await?;
        let plan = Plan { at: folder.join(PLACE), kind, token, sockets: self.sockets.clone() };
        pump::client::start(self.program(), &plan)
            .await
            .map_err(|error| EngineError::Internal(format!("error while mounting {path}: {error}")))?;
        Ok(folder)
    }

    /// The container has ended, or the look is over.
    pub(super) async fn unmount_shares(&self, definition: &Definition, look: u64) {
        if self.plain_computer().is_some() || !definition.mounts.iter().any(is_shared) {
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

/// Whether the host serves it.
pub(super) fn is_shared(mount: &MountPoint) -> bool {
    matches!(&mount.what, Mounted::Bind(bind) if !is_engine_socket(bind))
}

/// For `map_err`.
fn failed(error: ServiceError) -> EngineError {
    match error {
        ServiceError::Refused(message) => EngineError::Invalid(message),
        other => EngineError::Unavailable(other.to_string()),
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
        match unmount(&place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
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
