//! Pushes images: what a registry lacks of their blobs, and then their manifests, byte for byte as they came or were
//! made, so that a digest means the same image wherever it goes.
//!
//! A layer is looked for in the repository first, then asked for from another repository of the same registry that
//! is known to have it, and only then sent. Whoever drops the push ends it; what a registry has by then stays there
//! and is found by the next one.

mod error;
#[cfg(test)]
mod fake;
mod progress;

pub(crate) use error::PushError;
pub(crate) use progress::{LayerPush, PushProgress};

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::try_join_all;
use holm_api::{Digest, Reference};
use serde::Deserialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::interval;

use super::platform::Platform;
use super::record::{Image, Layer};
use super::registry::{Access, Blob, Endpoint, Mount, RegistryError, Session, push_endpoints};
use super::settings::RegistryAuth;
use super::{Images, Shared, blocking};

/// Layers that are sent at the same time, of all pushes. Docker's number.
const UPLOADS: usize = 5;
/// Other repositories that are asked for a layer. Docker's number.
const MOST_SOURCES: usize = 4;
/// Bytes of the largest manifest that a store holds.
const LONGEST_MANIFEST: usize = 4 << 20;
/// How often an upload is told of.
const TELL: Duration = Duration::from_millis(100);

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What to push.
#[derive(Clone, Debug)]
pub(crate) struct PushRequest {
    /// What; without a tag, all tags of the repository.
    pub(crate) reference: Reference,
    /// For which machine it has to be, where that matters.
    pub(crate) platform: Option<Platform>,
    /// As whom.
    pub(crate) auth: RegistryAuth,
}

/// What all pushes share.
pub(super) struct Uploads(Semaphore);

impl Default for Uploads {
    fn default() -> Self {
        Self(Semaphore::new(UPLOADS))
    }
}

impl Images {
    /// Pushes what the request means. Progress that nobody takes is waited for; nobody to take it is no error.
    pub(crate) async fn push(
        &self,
        request: PushRequest,
        progress: mpsc::Sender<PushProgress>,
    ) -> Result<(), PushError> {
        let reference = &request.reference;
        if let Some(wanted) = &request.platform {
            self.check_platform(reference, wanted)?;
        }
        let tell = Teller(progress);
        let name = format!("{}/{}", reference.registry(), reference.repository());
        tell.tell(PushProgress::RefersTo(name)).await;
        let images = self.pushed(reference)?;
        let session = Arc::new(self.open_push(reference, &request.auth).await?);
        let mut there = HashSet::new();
        for (reference, image) in images {
            let push = Push { shared: &self.shared, session: &session, reference: &reference, tell: &tell };
            push.run(&image, &mut there).await?;
        }
        Ok(())
    }

    fn check_platform(&self, reference: &Reference, wanted: &Platform) -> Result<(), PushError> {
        let image = self.find(&reference.familiar())?;
        let config = image.config();
        let has = Platform {
            os: config.os.clone(),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
        };
        match wanted.fit(&has) {
            Some(_) => Ok(()),
            None => Err(PushError::Platform {
                reference: reference.familiar(),
                has: has.normal().to_string(),
                wanted: wanted.normal().to_string(),
            }),
        }
    }

    /// The tags that the reference means, and their images.
    fn pushed(&self, reference: &Reference) -> Result<Vec<(Reference, Image)>, PushError> {
        let name = reference.familiar_name();
        let in_repository: Vec<(Reference, Image)> = self
            .list()
            .into_iter()
            .flat_map(|image| {
                let names = image.references().to_vec();
                names.into_iter().map(move |name| (name, image.clone()))
            })
            .filter(|(other, _)| {
                (other.registry(), other.repository()) == (reference.registry(), reference.repository())
            })
            .collect();
        if in_repository.is_empty() {
            return Err(PushError::NoSuchRepository(name));
        }
        if reference.digest().is_some() {
            return Err(PushError::ByDigest);
        }
        let mut tagged: Vec<_> = in_repository.into_iter().filter(|(name, _)| name.tag().is_some()).collect();
        tagged.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(tag) = reference.tag() {
            tagged.retain(|(name, _)| name.tag() == Some(tag));
            return match tagged.is_empty() {
                true => Err(PushError::NoSuchTag(reference.familiar())),
                false => Ok(tagged),
            };
        }
        if tagged.is_empty() { Err(PushError::NoTags(name)) } else { Ok(tagged) }
    }

    /// A session with the registry itself: a mirror is nothing to write to.
    async fn open_push(&self, reference: &Reference, auth: &RegistryAuth) -> Result<Session, PushError> {
        let connection = self.shared.connection()?;
        let open = |endpoint: Endpoint| {
            let repository = reference.repository();
            Session::new(connection.clone(), endpoint, repository, Access::Push, auth.clone())
        };
        let mut first = None;
        for endpoint in push_endpoints(reference.registry(), &self.shared.settings.registries)? {
            let session = open(endpoint);
            match session.ping().await {
                Ok(()) => return Ok(session),
                Err(error) => {
                    tracing::info!(%error, endpoint = session.name(), "asking the next endpoint");
                    // Of TLS and plain HTTP to one place, the last tells what is wrong with it.
                    first = Some(error);
                }
            }
        }
        let none =
            || RegistryError::Settings(format!("no endpoints found for {}", reference.familiar_name()));
        Err(first.unwrap_or_else(none).into())
    }
}

/// Tells who wants to know; nobody is no reason to stop, since who wants to stop drops the push.
struct Teller(mpsc::Sender<PushProgress>);

impl Teller {
    async fn tell(&self, event: PushProgress) {
        let _ = self.0.send(event).await;
    }

    async fn layer(&self, layer: &Layer, status: LayerPush) {
        self.tell(PushProgress::Layer { id: layer.diff_id.short(), status }).await;
    }

    /// Tells it unless that would hold up the upload: another number follows soon.
    fn in_passing(&self, layer: &Layer, status: LayerPush) {
        let _ = self.0.try_send(PushProgress::Layer { id: layer.diff_id.short(), status });
    }
}

/// One tag on its way.
struct Push<'a> {
    shared: &'a Arc<Shared>,
    session: &'a Arc<Session>,
    reference: &'a Reference,
    tell: &'a Teller,
}

impl Push<'_> {
    /// `there` are blobs that the repository is known to have, from the tags before.
    async fn run(&self, image: &Image, there: &mut HashSet<Digest>) -> Result<(), PushError> {
        let record = &image.entry.record;
        let blobs = record.layers.iter().flat_map(|layer| [layer.blob, layer.diff_id]);
        let needed = blobs.chain([record.id, record.manifest]).collect();
        let _hold = self.shared.hold(needed);
        if !self.shared.table().entries.contains_key(&record.id) {
            return Err(PushError::NoSuchTag(self.reference.familiar()));
        }
        let (shared, digest) = (self.shared.clone(), record.manifest);
        let manifest = blocking(move || shared.blobs.read(&digest, LONGEST_MANIFEST)).await?;

        // The uppermost first, as Docker lists them.
        let mut layers: Vec<&Layer> = Vec::new();
        for layer in image.layers().iter().rev() {
            self.tell.layer(layer, LayerPush::Preparing).await;
            if layers.iter().all(|other| other.blob != layer.blob) {
                layers.push(layer);
            }
        }
        let known: &HashSet<Digest> = there;
        try_join_all(layers.iter().map(|layer| self.push_layer(layer, known.contains(&layer.blob)))).await?;
        there.extend(layers.iter().map(|layer| layer.blob));
        self.push_config(&record.id).await?;

        let tag = self.reference.tag().unwrap_or("latest").to_owned();
        let media_type = media_type(&manifest);
        let (size, bytes) = (manifest.len(), manifest);
        self.session.put_manifest(&tag, &media_type, bytes).await?;
        let (shared, id) = (self.shared.clone(), record.id);
        let by_digest = self.reference.with_digest(digest);
        blocking(move || {
            let changing = shared.change();
            // Removed meanwhile: then the registry has it, and nobody here needs the name.
            if !shared.table().entries.contains_key(&id) {
                return Ok(());
            }
            shared.name(&changing, &[by_digest], id)
        })
        .await?;
        self.tell.tell(PushProgress::Pushed { tag, digest, size }).await;
        Ok(())
    }

    async fn push_layer(&self, layer: &Layer, is_there: bool) -> Result<(), PushError> {
        if is_there {
            self.tell.layer(layer, LayerPush::AlreadyExists).await;
            return Ok(());
        }
        let _turn = match self.shared.uploads.0.try_acquire() {
            Ok(turn) => turn,
            Err(_) => {
                self.tell.layer(layer, LayerPush::Waiting).await;
                let Ok(turn) = self.shared.uploads.0.acquire().await else { return Ok(()) };
                turn
            }
        };
        if self.has(&layer.blob).await {
            self.tell.layer(layer, LayerPush::AlreadyExists).await;
            return Ok(());
        }
        let mut place = None;
        for source in self.sources(&layer.blob) {
            match self.session.mount(&layer.blob, &source).await {
                Ok(Mount::Done) => {
                    self.tell.layer(layer, LayerPush::MountedFrom(source)).await;
                    return Ok(());
                }
                Ok(Mount::Upload(url)) => {
                    place = Some(url);
                    break;
                }
                // Not for this user, or not at all: then it is sent.
                Err(error) => tracing::debug!(%error, source, "a layer is not mounted"),
            }
        }
        let blob =
            Blob { digest: layer.blob, size: layer.blob_size, path: self.shared.blobs.path(&layer.blob) };
        let sent = Arc::new(AtomicU64::new(0));
        let mut sending = std::pin::pin!(self.session.send_blob(&blob, place, &sent));
        let mut tick = interval(TELL);
        let mut told = None;
        loop {
            tokio::select! {
                done = &mut sending => {
                    done?;
                    break;
                }
                _ = tick.tick() => {
                    let current = sent.load(Ordering::Relaxed);
                    if told != Some(current) {
                        told = Some(current);
                        self.tell.in_passing(layer, LayerPush::Pushing { current, total: blob.size });
                    }
                }
            }
        }
        self.tell.layer(layer, LayerPush::Pushed).await;
        Ok(())
    }

    async fn push_config(&self, id: &Digest) -> Result<(), PushError> {
        if self.has(id).await {
            return Ok(());
        }
        let (path, shared, digest) = (self.shared.blobs.path(id), self.shared.clone(), *id);
        let size = blocking(move || std::fs::metadata(shared.blobs.path(&digest))).await?.len();
        let blob = Blob { digest: *id, size, path };
        Ok(self.session.send_blob(&blob, None, &Arc::default()).await?)
    }

    /// Whether the repository has a blob. Where that cannot be asked, sending it will tell why.
    async fn has(&self, blob: &Digest) -> bool {
        self.session.has_blob(blob).await.unwrap_or_else(|error| {
            tracing::debug!(%error, %blob, "a registry does not say whether it has a blob");
            false
        })
    }

    /// Other repositories of this registry that have the blob: those that an image with it was pulled from or
    /// pushed to, which is when it has a name by digest there.
    fn sources(&self, blob: &Digest) -> Vec<String> {
        let target = self.reference;
        let table = self.shared.table();
        let with_it = table
            .entries
            .values()
            .filter(|entry| entry.record.layers.iter().any(|layer| layer.blob == *blob));
        let names = with_it.flat_map(|entry| table.names.of(&entry.record.id));
        let there: BTreeSet<String> = names
            .filter(|name| name.digest().is_some() && name.registry() == target.registry())
            .filter(|name| name.repository() != target.repository())
            .map(|name| name.repository().to_owned())
            .collect();
        there.into_iter().take(MOST_SOURCES).collect()
    }
}

/// What a manifest says it is. OCI's may leave that to its registry; Docker's never do.
fn media_type(manifest: &[u8]) -> String {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        media_type: Option<String>,
    }
    let head = serde_json::from_slice::<Head>(manifest).ok().and_then(|head| head.media_type);
    head.unwrap_or_else(|| OCI_MANIFEST.to_owned())
}

#[cfg(test)]
mod tests;
