//! Volumes: folders that outlive containers. Knows nothing of containers: who uses a volume is a text to it.
//!
//! ```text
//!   create ──► volume ──► kept by its users ──► remove, when nobody keeps it
//!                │                                  ▲
//!                └── mount for the first who runs ──┘ unmount after the last (volumes with options only)
//! ```

mod mounted;
mod name;
mod options;
mod record;

pub(crate) use mounted::MountError;
pub(crate) use name::VolumeName;
pub(crate) use options::FileSystem;
pub(crate) use record::Volume;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;

use mounted::Turn;

/// The one driver there is.
pub(crate) const DRIVER: &str = "local";
/// Marks a volume that nobody named.
pub(crate) const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// All volumes of this machine.
#[derive(Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
    /// Held by whoever changes files, so that memory and disk change in the same order.
    changing: Mutex<()>,
    /// Never locked while the disk works.
    table: Mutex<BTreeMap<VolumeName, Entry>>,
}

#[derive(Debug)]
struct Entry {
    volume: Arc<Volume>,
    /// Who would miss it.
    keepers: BTreeSet<String>,
    /// Who has its file system mounted; empty for volumes without one.
    mounted_by: BTreeSet<String>,
    /// Held by whoever mounts or unmounts it, which may wait for a server.
    mounting: Arc<Turn>,
}

/// What a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateVolume {
    /// `None`: an anonymous one.
    pub(crate) name: Option<String>,
    /// Empty: the one there is.
    pub(crate) driver: String,
    /// Shown, and filtered by.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// Of the driver.
    pub(crate) options: Option<BTreeMap<String, String>>,
}

/// What went wrong with which volume, in Docker's words.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}", .doing, .name.as_ref().map(|name| format!(" {name}")).unwrap_or_default())]
pub(crate) struct VolumeError {
    /// `create`, `get`, `remove`.
    doing: &'static str,
    name: Option<String>,
    /// What.
    pub(crate) problem: Problem,
}

/// A variant for each thing that a client would do differently.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// There is none of this name.
    #[error("no such volume")]
    Absent,
    /// Somebody would miss it.
    #[error("volume is in use - [{}]", .0.join(", "))]
    InUse(Vec<String>),
    /// A driver that is not there.
    #[error("error looking up volume plugin {0}: plugin {0:?} not found")]
    Driver(String),
    /// No name.
    #[error(transparent)]
    Name(#[from] name::NameError),
    /// No options.
    #[error(transparent)]
    Options(#[from] options::OptionsError),
    /// The machine's disk does not do what it should.
    #[error("{0}")]
    Disk(io::Error),
}

impl Volumes {
    /// Opens the folder and clears away what a crash left half-made. Blocks.
    pub(crate) fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        // Others may pass, not look around: a volume may be handed to any user, and names may tell something.
        fs::DirBuilder::new().recursive(true).mode(0o701).create(&root)?;
        fs::set_permissions(&root, fs::Permissions::from_mode(0o701))?;
        let table =
            record::read_all(&root)?.into_iter().map(|volume| (volume.name.clone(), Entry::new(volume)));
        Ok(Self { table: Mutex::new(table.collect()), changing: Mutex::default(), root })
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<Arc<Volume>> {
        self.table().values().map(|entry| entry.volume.clone()).collect()
    }

    /// The one of this name.
    pub(crate) fn get(&self, name: &str) -> Result<Arc<Volume>, VolumeError> {
        let volume = name
            .parse()
            .ok()
            .and_then(|name: VolumeName| self.table().get(&name).map(|entry| entry.volume.clone()));
        volume.ok_or_else(|| VolumeError::new("get", Some(name), Problem::Absent))
    }

    /// Where the data of a volume is. What is mounted there is there only while it is used.
    pub(crate) fn data(&self, name: &VolumeName) -> PathBuf {
        record::data(&self.root, name)
    }

    /// How many keep it.
    pub(crate) fn keepers(&self, name: &VolumeName) -> usize {
        self.table().get(name).map_or(0, |entry| entry.keepers.len())
    }

    /// Makes a volume, or finds the one that has the name already; `true` where it is new. With a `keeper`, it
    /// stays at least until that one releases it. Blocks.
    pub(crate) fn create(
        &self,
        wish: CreateVolume,
        random: impl FnOnce() -> io::Result<[u8; 32]>,
        keeper: Option<&str>,
    ) -> Result<(Arc<Volume>, bool), VolumeError> {
        let asked = wish.name.clone();
        let failed = |problem| VolumeError::new("create", asked.as_deref(), problem);
        if !matches!(wish.driver.as_str(), "" | DRIVER) {
            return Err(failed(Problem::Driver(wish.driver)));
        }
        let mut labels = wish.labels;
        let name: VolumeName = match &wish.name {
            Some(text) => text.parse().map_err(|error| failed(Problem::Name(error)))?,
            None => {
                labels.get_or_insert_default().insert(ANONYMOUS.to_owned(), String::new());
                VolumeName::random(random().map_err(|error| failed(Problem::Disk(error)))?)
            }
        };
        let _changing = self.changing();
        if let Some(entry) = self.table().get_mut(&name) {
            entry.keepers.extend(keeper.map(str::to_owned));
            return Ok((entry.volume.clone(), false));
        }
        options::file_system(wish.options.as_ref().unwrap_or(&BTreeMap::new()))
            .map_err(|error| failed(Problem::Options(error)))?;
        let volume = Volume { name: name.clone(), created: Utc::now(), labels, options: wish.options };
        record::write(&self.root, &volume).map_err(|error| failed(Problem::Disk(error)))?;
        let mut entry = Entry::new(volume);
        entry.keepers.extend(keeper.map(str::to_owned));
        let volume = entry.volume.clone();
        self.table().insert(name, entry);
        Ok((volume, true))
    }

    /// One more who would miss the volume.
    pub(crate) fn keep(&self, name: &VolumeName, keeper: &str) -> Result<Arc<Volume>, VolumeError> {
        let mut table = self.table();
        let entry = table.get_mut(name);
        let entry = entry.ok_or_else(|| VolumeError::new("get", Some(name.as_str()), Problem::Absent))?;
        entry.keepers.insert(keeper.to_owned());
        Ok(entry.volume.clone())
    }

    /// One fewer.
    pub(crate) fn release(&self, name: &VolumeName, keeper: &str) {
        if let Some(entry) = self.table().get_mut(name) {
            entry.keepers.remove(keeper);
        }
    }

    /// Removes a volume that nobody keeps. Blocks.
    pub(crate) fn remove(&self, name: &str) -> Result<Arc<Volume>, VolumeError> {
        let parsed: VolumeName =
            name.parse().map_err(|_| VolumeError::new("get", Some(name), Problem::Absent))?;
        let failed = |problem| VolumeError::new("remove", Some(name), problem);
        let _changing = self.changing();
        let entry = {
            let mut table = self.table();
            let entry = table.get(&parsed);
            let entry = entry.ok_or_else(|| VolumeError::new("get", Some(name), Problem::Absent))?;
            if !entry.keepers.is_empty() || !entry.mounted_by.is_empty() {
                let users = entry.keepers.union(&entry.mounted_by).cloned().collect();
                return Err(failed(Problem::InUse(users)));
            }
            table.remove(&parsed).expect("found just now, under the same lock")
        };
        let volume = entry.volume.clone();
        match record::remove(&self.root, &parsed) {
            Ok(()) => Ok(volume),
            Err(error) => {
                self.table().insert(parsed, entry);
                Err(failed(Problem::Disk(error)))
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<VolumeName, Entry>> {
        // Every change is one insertion or removal.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Volume {
    /// What is mounted at its data while it is used.
    pub(crate) fn file_system(&self) -> Option<FileSystem> {
        // Checked when the volume was made.
        options::file_system(self.options.as_ref()?).ok().flatten()
    }

    /// Whether nobody named it.
    pub(crate) fn is_anonymous(&self) -> bool {
        self.labels.as_ref().is_some_and(|labels| labels.contains_key(ANONYMOUS))
    }
}

impl Entry {
    fn new(volume: Volume) -> Self {
        Self {
            volume: Arc::new(volume),
            keepers: BTreeSet::new(),
            mounted_by: BTreeSet::new(),
            mounting: Arc::default(),
        }
    }
}

impl VolumeError {
    fn new(doing: &'static str, name: Option<&str>, problem: Problem) -> Self {
        Self { doing, name: name.map(str::to_owned), problem }
    }
}

#[cfg(test)]
mod tests;
