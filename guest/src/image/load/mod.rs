//! Loads images from an archive: what `docker save`, skopeo or a builder wrote, or an OCI layout.
//!
//! ```text
//!   client ► pieces ► stage ───────────► members ► plan ► keep
//!                       │ looks like a layer              ▲
//!                       └──────────────► unpackers ───────┘
//! ```
//!
//! The manifest is an archive's last member, so every file goes to the disk first, once, where it stays if it is a
//! blob of an image; layers are unpacked beside that. All images of an archive share one sync, and are there
//! together or not at all.

mod error;
mod members;
mod pieces;
mod plan;
mod stage;
mod unpackers;

pub(crate) use error::LoadError;
pub(crate) use pieces::Pieces;
pub(in crate::image) use pieces::uncompressed;

use std::sync::Arc;

use chrono::Utc;
use holm_api::{Digest, Reference};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::commit::{OCI_TYPES, manifest};
use super::platform::Platform;
use super::record::{Layer, Record};
use super::stream::{Gauge, Packing};
use super::{Images, Shared, blocking};
use members::Members;
use plan::{Kept, Wanted, plan};
use unpackers::{Closing, Done, Ground, Queue, Unpacking};

/// Archives that are loaded at the same time; more wait. Each has its unpackers and their buffers.
pub(super) const LOADS: usize = 3;
/// Layers of one archive that are unpacked at the same time, whatever the number of processors.
const MOST_UNPACKERS: usize = 8;

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoadProgress {
    /// Twelve digits that tell it from the others.
    pub(crate) id: String,
    /// Bytes of the archive's, so far.
    pub(crate) current: u64,
    /// Of how many.
    pub(crate) total: u64,
}

/// An image that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// Which.
    pub(crate) id: Digest,
    /// Its names in the archive, each with the other image that had it before.
    pub(crate) names: Vec<(Reference, Option<Digest>)>,
}

/// An image with all its parts on the disk, unpacked.
struct Ready {
    wanted: Wanted,
    layers: Vec<Layer>,
    manifest: Digest,
    manifest_bytes: Vec<u8>,
}

impl Images {
    /// Loads all images of an archive, or those for one platform. Progress is told as long as there is room for it;
    /// when nobody can take it any more, the load is called off. [`Images::sweep`] removes what it leaves.
    pub(crate) async fn load(
        &self,
        archive: Pieces,
        platform: Option<Platform>,
        progress: mpsc::Sender<LoadProgress>,
    ) -> Result<Vec<Loaded>, LoadError> {
        let _turn = self.shared.loads.acquire().await.map_err(|_| LoadError::Cancelled)?;
        let shared = self.shared.clone();
        blocking(move || load(&shared, archive, platform.as_ref(), &progress)).await
    }
}

fn load(
    shared: &Arc<Shared>,
    archive: Pieces,
    platform: Option<&Platform>,
    progress: &mpsc::Sender<LoadProgress>,
) -> Result<Vec<Loaded>, LoadError> {
    let ground = Ground::new(shared, progress);
    let queue = Queue::default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let _closing = Closing(&queue);
        for _ in 0..processors.min(MOST_UNPACKERS) {
            scope.spawn(|| queue.work(&ground));
        }
        let mut members = stage::read(&ground, &queue, uncompressed(archive, &shared.windows)?)?;
        let images = plan(&members, platform)?;
        let mut ready = Vec::new();
        for (wanted, layers) in unpacked(&queue, &mut members, images)? {
            ready.push(described(&members, wanted, &layers)?);
        }
        if progress.is_closed() {
            return Err(LoadError::Cancelled);
        }
        keep(shared, &mut members, ready).map_err(LoadError::store)
    })
}

/// Has all layers of the images unpacked that are not, and waits for them.
fn unpacked(
    queue: &Queue,
    members: &mut Members,
    images: Vec<Wanted>,
) -> Result<Vec<(Wanted, Vec<Done>)>, LoadError> {
    for path in images.iter().flat_map(|image| &image.layers) {
        let file = members.file_mut(path)?;
        if let (None, Some(half)) = (&file.layer, &file.half) {
            let gauge = Arc::new(Gauge::whole(file.size, file.digest));
            let label = stage::label(path).to_owned();
            let order = queue.order(half.path().to_owned(), gauge, label, file.size);
            file.layer = Some(Unpacking::Ordered(order));
        }
    }
    let mut all = Vec::new();
    for image in images {
        let mut layers = Vec::new();
        for (index, (path, expected)) in image.layers.iter().zip(&image.config.rootfs.diff_ids).enumerate() {
            let done = match &members.file(path)?.layer {
                Some(Unpacking::Known(done)) => *done,
                Some(Unpacking::Ordered(order)) => {
                    order.wait().map_err(|cause| LoadError::layer(path, cause))?
                }
                None => return Err(LoadError::Missing(path.clone())),
            };
            if done.diff_id != *expected {
                return Err(LoadError::DiffId { index, expected: *expected, got: done.diff_id });
            }
            layers.push(done);
        }
        all.push((image, layers));
    }
    Ok(all)
}

/// The image with its manifest: the one that came, or one that is made of what came.
fn described(members: &Members, wanted: Wanted, done: &[Done]) -> Result<Ready, LoadError> {
    let mut layers = Vec::new();
    for (index, (path, done)) in wanted.layers.iter().zip(done).enumerate() {
        let file = members.file(path)?;
        let media_type = match (&wanted.manifest, file.packing) {
            (Some(kept), _) => {
                kept.manifest.layers.get(index).map(|layer| layer.media_type.clone()).unwrap_or_default()
            }
            (None, Packing::Plain) => "application/vnd.oci.image.layer.v1.tar".to_owned(),
            (None, Packing::Gzip) => OCI_TYPES[2].to_owned(),
            (None, Packing::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
        };
        let (blob, blob_size) = (file.digest, file.size);
        layers.push(Layer { blob, blob_size, media_type, diff_id: done.diff_id, size: done.size });
    }
    let (manifest, manifest_bytes) = match &wanted.manifest {
        Some(Kept { digest, bytes, .. }) => (*digest, bytes.clone()),
        None => {
            let made = manifest(OCI_TYPES, (&wanted.id, wanted.config_bytes.len()), &layers);
            let bytes = made.to_string().into_bytes();
            (Digest::from_bytes(Sha256::digest(&bytes).into()), bytes)
        }
    };
    Ok(Ready { wanted, layers, manifest, manifest_bytes })
}

/// Makes all images durable and gives them their names.
fn keep(shared: &Shared, members: &mut Members, images: Vec<Ready>) -> std::io::Result<Vec<Loaded>> {
    let changing = shared.change();
    let there = |id: &Digest| shared.table().entries.contains_key(id);
    for image in images.iter().filter(|image| !there(&image.wanted.id)) {
        for path in &image.wanted.layers {
            members.file_mut(path).map_err(std::io::Error::other)?.keep(&shared.blobs)?;
        }
        shared.blobs.write(&image.manifest, &image.manifest_bytes)?;
        shared.blobs.write(&image.wanted.id, &image.wanted.config_bytes)?;
    }
    // Everything before the records, the records before their names: see the head of `image`.
    shared.layers.sync()?;
    shared.sync()?;
    let mut loaded: Vec<Loaded> = Vec::new();
    for Ready { wanted, layers, manifest, .. } in images {
        if !there(&wanted.id) {
            let record = Record { id: wanted.id, manifest, layers, tagged: Utc::now() };
            shared.keep_record(&changing, record, &wanted.config)?;
        }
        let before = |name: &Reference| shared.table().names.get(name).filter(|id| *id != wanted.id);
        let names = wanted.names.into_iter().map(|name| (name.clone(), before(&name))).collect();
        loaded.push(Loaded { id: wanted.id, names });
    }
    shared.change_names(&changing, |names| {
        for image in &loaded {
            image.names.iter().for_each(|(name, _)| names.set(name, image.id));
        }
    })?;
    Ok(loaded)
}

#[cfg(test)]
mod tests;
