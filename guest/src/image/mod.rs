//! Images: pulled from registries, kept by content, named by references.
//!
//! ```text
//!   <root>/blobs/sha256/<hex>     manifests, configurations and layers, as they came
//!   <root>/records/<hex>.json     one an image: which of its blobs mean what
//!   <root>/names.json             references → image ids
//!   <root>/tmp/                   half-made files
//! ```
//!
//! An image exists from the moment its record does. Before that, its blobs and layers are made durable by one
//! sync of the file system; what no record names is swept when the store is opened. So a crash at any instant
//! leaves an image wholly there or wholly absent, and a pull pays for one sync, however many layers it has.
//!
//! Layers are unpacked by a [`LayerSink`] that the engine passes in, keyed by diff id and not by chain id: what a
//! layer holds does not depend on what lies under it, so images share layers in whatever order they stack them.

mod blobs;
mod check;
mod commit;
mod config;
mod download;
mod durable;
#[cfg(test)]
mod fake;
mod find;
mod import;
mod layers;
mod load;
mod login;
mod names;
mod platform;
mod probe;
mod pull;
mod push;
mod record;
mod registry;
mod remote;
mod remove;
mod save;
mod search;
mod settings;
mod stream;

pub(crate) use commit::{CommitWish, NewLayer};
pub(crate) use config::ImageConfig;
pub(crate) use find::FindError;
pub(crate) use import::ImportWish;
pub(crate) use layers::LayerSink;
pub(crate) use load::{LoadError, LoadProgress, Loaded, Pieces};
pub(crate) use platform::Platform;
#[cfg(test)]
pub(crate) use pull::LayerStatus;
pub(crate) use pull::{PullError, PullErrorKind, PullProgress, PullRequest};
pub(crate) use push::{LayerPush, PushError, PushProgress, PushRequest};
pub(crate) use record::{Image, chain_ids};
pub(crate) use registry::{LoginError, RegistryError};
pub(crate) use remove::{ContainerUse, RemoveError, Removed};
pub(crate) use save::SaveError;
pub(crate) use search::{Found, SearchError};
pub(crate) use settings::{RegistryAuth, RegistrySettings};

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use chrono::Utc;
use holm_api::{Digest, Reference};
use tokio::sync::Semaphore;

use blobs::Blobs;
use config::LONGEST_CONFIG;
use names::Names;
use pull::Jobs;
use push::Uploads;
use record::{Entry, Record};
use registry::Connection;
use stream::Windows;

const RECORDS: &str = "records";
const NAMES: &str = "names.json";

/// All images of this machine. Clones share them.
#[derive(Clone)]
pub(crate) struct Images {
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    blobs: Blobs,
    layers: Arc<dyn LayerSink>,
    settings: RegistrySettings,
    connection: OnceLock<Arc<Connection>>,
    jobs: Jobs,
    uploads: Uploads,
    windows: Arc<Windows>,
    loads: Semaphore,
    /// Held by whoever changes files, so that memory and disk change in the same order.
    changing: Mutex<()>,
    table: Mutex<Table>,
}

/// What is on disk, in memory. Never locked while the disk works.
#[derive(Default)]
struct Table {
    entries: BTreeMap<Digest, Arc<Entry>>,
    names: Names,
    /// Blobs and layers that a pull in progress or a container in the making needs, and how many of them.
    pins: HashMap<Digest, usize>,
    /// Bytes of the files of layers that were unpacked since the store was opened: a pull that is repeated
    /// finds them before any record names them.
    sizes: HashMap<Digest, u64>,
}

/// Proof that its owner alone changes files.
struct Changing<'a> {
    _guard: MutexGuard<'a, ()>,
}

/// Keeps blobs and layers from being swept, until it is dropped.
pub(crate) struct Hold {
    shared: Arc<Shared>,
    digests: Vec<Digest>,
}

/// A file of the store that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The disk does not do what it should.
    #[error("cannot open the image store")]
    Io(#[from] io::Error),
    /// The table of names is no table. Nothing else tells the names, so it is not thrown away.
    #[error("{} is damaged", .0.display())]
    Names(PathBuf, #[source] serde_json::Error),
}

impl Images {
    /// Opens the store in `root` and removes what a crash left half-made, and every layer that neither an
    /// image nor a container needs. `held` are the layers of all containers. Blocks.
    pub(crate) fn open(
        root: impl Into<PathBuf>,
        layers: Arc<dyn LayerSink>,
        held: &[Digest],
        settings: RegistrySettings,
    ) -> Result<Self, OpenError> {
        let root = root.into();
        fs::create_dir_all(root.join(RECORDS))?;
        match fs::remove_dir_all(root.join(durable::SCRATCH)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => fs::create_dir(root.join(durable::SCRATCH))?,
        }
        let blobs = Blobs::open(&root)?;
        let entries = read_records(&root, &blobs, layers.as_ref())?;
        let mut names = read_names(&root)?;
        // A crash between the two files can leave a name without its image.
        names.retain(|id| entries.contains_key(id));
        let table = Mutex::new(Table { entries, names, ..Table::default() });
        let shared = Arc::new(Shared {
            root,
            blobs,
            layers,
            settings,
            connection: OnceLock::new(),
            jobs: Jobs::default(),
            uploads: Uploads::default(),
            windows: Arc::default(),
            loads: Semaphore::new(load::LOADS),
            changing: Mutex::new(()),
            table,
        });
        shared.sweep(&shared.change(), held)?;
        Ok(Self { shared })
    }

    /// All images, in the order of their ids.
    pub(crate) fn list(&self) -> Vec<Image> {
        let table = self.shared.table();
        table.entries.values().map(|entry| table.image(entry)).collect()
    }

    /// The image with this id.
    pub(crate) fn get(&self, id: &Digest) -> Option<Image> {
        let table = self.shared.table();
        table.entries.get(id).map(|entry| table.image(entry))
    }

    fn get_named(&self, reference: &Reference) -> Option<Image> {
        let table = self.shared.table();
        let id = table.names.get(reference)?;
        table.entries.get(&id).map(|entry| table.image(entry))
    }

    /// Gives the image one more name; another image that had it loses it.
    pub(crate) async fn tag(&self, id: Digest, reference: Reference) -> Result<(), TagError> {
        let shared = self.shared.clone();
        blocking(move || {
            let changing = shared.change();
            let entry = shared.table().entries.get(&id).cloned();
            let entry = entry.ok_or_else(|| FindError::NotFound(id.to_string()))?;
            shared.keep_record(
                &changing,
                Record { tagged: Utc::now(), ..entry.record.clone() },
                &entry.config,
            )?;
            shared.name(&changing, &[reference], id)?;
            Ok(())
        })
        .await
    }

    /// Keeps an image's layers from being swept while a container is made of it. `None` where the image was
    /// removed since it was looked up.
    pub(crate) fn hold(&self, image: &Image) -> Option<Hold> {
        // In this order: a removal first forgets the image and then asks what is held.
        let hold = self.shared.hold(image.diff_ids());
        self.get(&image.id()).map(|_| hold)
    }
}

/// Why an image got no name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TagError {
    /// There is no such image (any more).
    #[error(transparent)]
    Find(#[from] FindError),
    /// The machine's disk does not do what it should.
    #[error("cannot keep the name")]
    Store(#[from] io::Error),
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere leaves the table as it was after its last whole change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> Changing<'_> {
        Changing { _guard: self.changing.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    fn hold(self: &Arc<Self>, digests: Vec<Digest>) -> Hold {
        let mut table = self.table();
        for digest in &digests {
            *table.pins.entry(*digest).or_default() += 1;
        }
        Hold { shared: self.clone(), digests }
    }

    /// Makes all blobs durable.
    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(&self.root)?)?)
    }

    fn note_size(&self, diff_id: Digest, size: u64) {
        self.table().sizes.insert(diff_id, size);
    }

    fn known_size(&self, diff_id: &Digest) -> Option<u64> {
        let table = self.table();
        let mut layers = table.entries.values().flat_map(|entry| &entry.record.layers);
        let recorded = layers.find(|layer| layer.diff_id == *diff_id).map(|layer| layer.size);
        recorded.or_else(|| table.sizes.get(diff_id).copied())
    }

    /// What the blob unpacks to, where an image tells.
    fn diff_id_of(&self, blob: &Digest) -> Option<Digest> {
        let table = self.table();
        let mut layers = table.entries.values().flat_map(|entry| &entry.record.layers);
        layers.find(|layer| layer.blob == *blob).map(|layer| layer.diff_id)
    }

    /// Writes an image's record. Its blobs and layers are durable already.
    fn keep_record(&self, _: &Changing<'_>, record: Record, config: &ImageConfig) -> io::Result<()> {
        let bytes = serde_json::to_vec_pretty(&record)?;
        durable::write(&self.root, &format!("{RECORDS}/{}.json", record.id.hex()), &bytes)?;
        let entry = Arc::new(Entry { config: config.clone(), record });
        self.table().entries.insert(entry.record.id, entry);
        Ok(())
    }

    fn forget(&self, _: &Changing<'_>, id: &Digest) -> io::Result<()> {
        durable::remove(&self.root.join(RECORDS).join(format!("{}.json", id.hex())))?;
        self.table().entries.remove(id);
        Ok(())
    }

    fn name(&self, changing: &Changing<'_>, references: &[Reference], id: Digest) -> io::Result<()> {
        self.change_names(changing, |names| references.iter().for_each(|name| names.set(name, id)))
    }

    fn untag(&self, changing: &Changing<'_>, references: &[Reference]) -> io::Result<()> {
        self.change_names(changing, |names| references.iter().for_each(|name| names.remove(name)))
    }

    fn change_names(&self, _: &Changing<'_>, change: impl FnOnce(&mut Names)) -> io::Result<()> {
        let mut names = self.table().names.clone();
        change(&mut names);
        durable::write(&self.root, NAMES, &serde_json::to_vec_pretty(&names)?)?;
        self.table().names = names;
        Ok(())
    }

    /// Everything that has to stay.
    fn needed(&self, kept: &[Digest]) -> HashSet<Digest> {
        let table = self.table();
        let mut needed: HashSet<Digest> = kept.iter().chain(table.pins.keys()).copied().collect();
        for entry in table.entries.values() {
            needed.extend([entry.record.id, entry.record.manifest]);
            needed.extend(entry.record.layers.iter().flat_map(|layer| [layer.blob, layer.diff_id]));
        }
        needed
    }
}

impl Table {
    fn image(&self, entry: &Arc<Entry>) -> Image {
        Image { entry: entry.clone(), references: self.names.of(&entry.record.id) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut table = self.shared.table();
        for digest in &self.digests {
            if let Some(count) = table.pins.get_mut(digest) {
                *count -= 1;
                if *count == 0 {
                    table.pins.remove(digest);
                }
            }
        }
    }
}

/// Reads all records. One that cannot be read, or lacks a part, is no image any more and is removed: its parts
/// can be pulled again.
fn read_records(
    root: &Path,
    blobs: &Blobs,
    layers: &dyn LayerSink,
) -> io::Result<BTreeMap<Digest, Arc<Entry>>> {
    let mut entries = BTreeMap::new();
    for file in fs::read_dir(root.join(RECORDS))? {
        let path = file?.path();
        let record = serde_json::from_slice::<Record>(&fs::read(&path)?).ok();
        let whole = record.filter(|record| {
            record.layers.iter().all(|layer| layers.holds(&layer.diff_id)) && blobs.holds(&record.manifest)
        });
        let entry = whole.and_then(|record| {
            let config = ImageConfig::parse(&blobs.read(&record.id, LONGEST_CONFIG).ok()?).ok()?;
            Some(Entry { record, config })
        });
        match entry {
            Some(entry) => {
                entries.insert(entry.record.id, Arc::new(entry));
            }
            None => {
                tracing::warn!(record = %path.display(), "an image is damaged and is removed; pull it again");
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(entries)
}

fn read_names(root: &Path) -> Result<Names, OpenError> {
    let path = root.join(NAMES);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| OpenError::Names(path, error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Names::default()),
        Err(error) => Err(error.into()),
    }
}

/// Runs `work` where it may wait for the disk.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down, and whoever waited goes with it.
            Err(_) => std::future::pending().await,
        },
    }
}
