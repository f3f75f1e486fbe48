//! Introduces volumes to events and to the disk's measures.

use std::io;
use std::sync::Arc;

use super::events::{Actor, Subject};
use super::names::random_bytes;
use super::{Engine, EngineError, ErrorKind};
use crate::snapshot;
use crate::volume::{CreateVolume, DRIVER, Problem, Volume, VolumeError, VolumeName, Volumes};

/// What a prune took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// Names, or ids.
    pub(crate) removed: Vec<String>,
    /// Bytes.
    pub(crate) reclaimed: u64,
}

impl Engine {
    /// All volumes.
    pub(crate) fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    /// Makes a volume, or finds the one that has the name. `keeper` is a container that will use it.
    pub(crate) async fn create_volume(
        &self,
        wish: CreateVolume,
        keeper: Option<String>,
    ) -> Result<Arc<Volume>, EngineError> {
        let volumes = self.volumes.clone();
        let made = blocking(move || {
            let random = || random_bytes().map_err(io::Error::other);
            Ok(volumes.create(wish, random, keeper.as_deref())?)
        });
        let (volume, new) = made.await?;
        if new {
            self.tell_volume(&volume.name, "create", []);
        }
        Ok(volume)
    }

    /// Removes a volume. One that is not there is no error to `force`.
    pub(crate) async fn remove_volume(&self, name: &str, force: bool) -> Result<(), EngineError> {
        let (volumes, text) = (self.volumes.clone(), name.to_owned());
        match blocking(move || Ok(volumes.remove(&text))).await? {
            Ok(volume) => {
                self.tell_volume(&volume.name, "destroy", []);
                Ok(())
            }
            Err(VolumeError { problem: Problem::Absent, .. }) if force => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes all volumes that nobody keeps and that are `wanted`. Those with options hold nothing of this disk's
    /// and stay, as in moby.
    pub(crate) async fn prune_volumes(
        &self,
        wanted: impl Fn(&Volume) -> bool,
    ) -> Result<Pruned, EngineError> {
        let Ok(_alone) = self.pruning_volumes.try_lock() else {
            return Err(EngineError::Conflict("a prune operation is already running".to_owned()));
        };
        let mut pruned = Pruned::default();
        for volume in self.volumes.list() {
            let plain = volume.options.as_ref().is_none_or(|options| options.is_empty());
            if !plain || self.volumes.keepers(&volume.name) > 0 || !wanted(&volume) {
                continue;
            }
            let size = self.volume_size(&volume.name).await?;
            match self.remove_volume(volume.name.as_str(), false).await {
                Ok(()) => {
                    pruned.removed.push(volume.name.to_string());
                    pruned.reclaimed += size;
                }
                // Somebody was faster, in either direction.
                Err(EngineError::Volume(error)) if !matches!(error.problem, Problem::Disk(_)) => {}
                Err(error) => tracing::warn!("could not remove a volume: {error}"),
            }
        }
        self.tell_prune(Subject::Volume, pruned.reclaimed);
        Ok(pruned)
    }

    /// Bytes of a volume's files.
    pub(crate) async fn volume_size(&self, name: &VolumeName) -> Result<u64, EngineError> {
        let data = self.volumes.data(name);
        blocking(move || {
            let counted = snapshot::usage(&data);
            counted.map_err(EngineError::system("count the bytes of a volume"))
        })
        .await
    }

    pub(super) fn tell_volume<const N: usize>(
        &self,
        name: &VolumeName,
        action: &str,
        more: [(&str, String); N],
    ) {
        let driver = ("driver".to_owned(), DRIVER.to_owned());
        let more = more.map(|(key, value)| (key.to_owned(), value));
        let attributes = [driver].into_iter().chain(more).collect();
        self.events().tell(Subject::Volume, action, Actor { id: name.to_string(), attributes });
    }

    /// Tells that things of a kind were pruned.
    pub(super) fn tell_prune(&self, subject: Subject, reclaimed: u64) {
        let attributes = [("reclaimed".to_owned(), reclaimed.to_string())].into();
        self.events().tell(subject, "prune", Actor { id: String::new(), attributes });
    }
}

/// Runs `work` where it may wait for the disk.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EngineError> + Send + 'static,
) -> Result<T, EngineError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panicked| Err(EngineError::Internal(panicked.to_string())))
}

impl From<VolumeError> for EngineError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(error)
    }
}

/// Decides the status.
pub(super) fn kind(problem: &Problem) -> ErrorKind {
    match problem {
        Problem::Absent | Problem::Driver(_) => ErrorKind::NotFound,
        Problem::InUse(_) => ErrorKind::Conflict,
        Problem::Name(_) | Problem::Options(_) => ErrorKind::Invalid,
        Problem::Disk(_) => ErrorKind::Internal,
    }
}
