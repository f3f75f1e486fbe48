//! Pulls an image: finds out what a reference means, fetches what is missing, and names it.
//!
//! Each layer is a [`job`] of its own; the pull watches its jobs, tells their progress, and writes the image's
//! record when all are done. Whoever drops the pull ends it, and with it the jobs that nobody else wants.

mod error;
mod job;
pub(super) mod manifest;
mod progress;
mod report;

pub(crate) use error::{PullError, PullErrorKind};
pub(super) use job::Jobs;
pub(crate) use progress::{LayerStatus, PullProgress};

use std::sync::Arc;

use chrono::Utc;
use futures_util::future::try_join_all;
use holm_api::{Digest, Reference};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::config::{ImageConfig, LONGEST_CONFIG};
use super::platform::Platform;
use super::record::{Layer, Record};
use super::registry::{Access, Connection, RegistryError, Session, TransportFault, endpoints};
use super::settings::RegistryAuth;
use super::{Hold, Images, Shared, blocking};
use job::Job;
use manifest::{LONGEST_MANIFEST, Manifest, Parsed};

/// Lists within lists that are followed.
pub(super) const DEEPEST_LIST: usize = 4;

/// What to pull.
#[derive(Clone, Debug)]
pub(crate) struct PullRequest {
    /// What; without a tag and digest, `latest`.
    pub(crate) reference: Reference,
    /// For which machine; `None` means this one.
    pub(crate) platform: Option<Platform>,
    /// As whom.
    pub(crate) auth: RegistryAuth,
}

impl Images {
    /// Pulls an image and returns its id. Progress that nobody takes is waited for; nobody to take it is no error.
    pub(crate) async fn pull(
        &self,
        request: PullRequest,
        progress: mpsc::Sender<PullProgress>,
    ) -> Result<Digest, PullError> {
        let reference = request.reference.clone().or_latest();
        match self.ask(&Question::Image(&reference), &request, &progress).await? {
            Answer::Image { id, is_new } => {
                tell_outcome(&progress, is_new, &reference.familiar()).await;
                Ok(id)
            }
            Answer::Tags(_) => Err(PullError::Cancelled),
        }
    }

    /// Pulls every tag of the request's repository, one after the other; where one fails, those before it stay.
    pub(crate) async fn pull_all(
        &self,
        request: PullRequest,
        progress: mpsc::Sender<PullProgress>,
    ) -> Result<(), PullError> {
        let repository = &request.reference;
        let tags = match self.ask(&Question::Tags(repository), &request, &progress).await? {
            Answer::Tags(tags) => tags,
            Answer::Image { .. } => Vec::new(),
        };
        let mut any_new = false;
        for tag in tags {
            let reference =
                repository.clone().with_tag(&tag).map_err(|_| PullError::InvalidTag(tag.clone()))?;
            if let Answer::Image { is_new, .. } =
                self.ask(&Question::Image(&reference), &request, &progress).await?
            {
                any_new |= is_new;
            }
        }
        tell_outcome(&progress, any_new, &repository.familiar_name()).await;
        Ok(())
    }

    /// Asks every place where the registry's images come from, until one answers.
    async fn ask(
        &self,
        question: &Question<'_>,
        request: &PullRequest,
        progress: &mpsc::Sender<PullProgress>,
    ) -> Result<Answer, PullError> {
        let (Question::Image(reference) | Question::Tags(reference)) = *question;
        let registry = reference.registry();
        let connection = self.shared.connection()?;
        let mut last: Option<(String, PullError)> = None;
        let mut speaks_tls = Vec::new();
        for endpoint in endpoints(registry, &self.shared.settings.registries)? {
            let (host, mirror) = (endpoint.name(), endpoint.mirror);
            let with_tls = endpoint.base.scheme() == "https";
            // Never plain HTTP to who has shown to speak TLS: somebody in between may want just that.
            if !with_tls && speaks_tls.contains(&host) {
                continue;
            }
            let (repository, auth) = (reference.repository(), request.auth.clone());
            let session = Session::new(connection.clone(), endpoint, repository, Access::Pull, auth);
            let answer = match question {
                Question::Tags(_) => session.tags().await.map(Answer::Tags).map_err(PullError::from),
                Question::Image(reference) => {
                    let pull = Pull {
                        shared: &self.shared,
                        session: Arc::new(session),
                        reference,
                        platform: request.platform.clone().unwrap_or_else(Platform::host),
                        progress,
                    };
                    pull.run().await
                }
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let about_transport = is_about_transport(&error);
            if !mirror && !about_transport {
                return Err(in_dockers_words(error, reference));
            }
            tracing::info!(%error, endpoint = host, "asking the next endpoint");
            if with_tls && !about_transport {
                speaks_tls.push(host.clone());
            }
            last = Some(match last {
                // Of TLS and plain HTTP to one address where nobody listens, one is enough.
                Some((before, first)) if before == host && is_refused(&error) => (before, first),
                _ => (host, error),
            });
        }
        let none = || RegistryError::Settings(format!("no endpoints found for {}", reference.familiar()));
        Err(in_dockers_words(last.map_or_else(|| none().into(), |(_, error)| error), reference))
    }
}

/// What a registry is asked.
enum Question<'a> {
    /// For the image of this name.
    Image(&'a Reference),
    /// Which tags the repository of this name has.
    Tags(&'a Reference),
}

/// What came of it.
enum Answer {
    /// The image is here.
    Image { id: Digest, is_new: bool },
    /// These are all.
    Tags(Vec<String>),
}

/// The last line of a pull.
async fn tell_outcome(progress: &mpsc::Sender<PullProgress>, is_new: bool, name: &str) {
    let status = if is_new { "Downloaded newer image for" } else { "Image is up to date for" };
    // Nobody to tell is no error.
    let _ = progress.send(PullProgress::Status(format!("{status} {name}"))).await;
}

/// Whether nothing was learned about the image, so that another way to the registry may do better.
fn is_about_transport(error: &PullError) -> bool {
    matches!(error, PullError::Registry(RegistryError::Transport { .. }))
}

fn is_refused(error: &PullError) -> bool {
    let PullError::Registry(RegistryError::Transport { fault, .. }) = error else { return false };
    matches!(fault, TransportFault::ConnectionRefused(_))
}

/// What a registry's refusal means for whoever typed the reference.
fn in_dockers_words(error: PullError, reference: &Reference) -> PullError {
    let PullError::Registry(RegistryError::Refused { code, message, registry }) = error else { return error };
    let repository = reference.familiar_name();
    match code.as_str() {
        "DENIED" => PullError::Denied { repository, registry, message },
        "MANIFEST_UNKNOWN" => PullError::ManifestUnknown { reference: reference.familiar(), message },
        "NAME_UNKNOWN" => PullError::NameUnknown { repository, message },
        _ => RegistryError::Refused { code, message, registry }.into(),
    }
}

struct Pull<'a> {
    shared: &'a Arc<Shared>,
    session: Arc<Session>,
    reference: &'a Reference,
    platform: Platform,
    progress: &'a mpsc::Sender<PullProgress>,
}

/// A manifest and a configuration, their digests checked.
struct Described {
    /// What the reference means: the digest of the list, where it names one.
    named: Digest,
    manifest: Manifest,
    manifest_digest: Digest,
    manifest_bytes: Vec<u8>,
    config: ImageConfig,
    config_bytes: Vec<u8>,
}

impl Pull<'_> {
    async fn run(&self) -> Result<Answer, PullError> {
        let described = self.describe().await?;
        let id = described.manifest.config.digest;
        let pairs: Vec<_> =
            described.manifest.layers.iter().cloned().zip(described.config.rootfs.diff_ids.clone()).collect();

        // Under the lock, so that no removal takes away what is found to be there.
        let mut digests = vec![id, described.manifest_digest];
        digests.extend(pairs.iter().flat_map(|(blob, diff_id)| [blob.digest, *diff_id]));
        let wanted = pairs.clone();
        let shared = self.shared.clone();
        let (_hold, known): (Hold, Vec<Option<u64>>) = blocking(move || {
            let _changing = shared.change();
            let hold = shared.hold(digests);
            let sizes = wanted.iter().map(|(blob, diff_id)| {
                let there = shared.blobs.holds(&blob.digest) && shared.layers.holds(diff_id);
                shared.known_size(diff_id).filter(|_| there)
            });
            (hold, sizes.collect())
        })
        .await;

        let mut jobs = Vec::new();
        for ((blob, diff_id), known) in pairs.iter().zip(&known) {
            let status =
                if known.is_some() { LayerStatus::AlreadyExists } else { LayerStatus::PullingFsLayer };
            self.tell(PullProgress::Layer { id: blob.digest.short(), status }).await;
            jobs.push(known.is_none().then(|| Job::of(self.shared, &self.session, blob, *diff_id)));
        }
        let sizes =
            try_join_all(pairs.iter().zip(&known).zip(&jobs).map(async |(((blob, _), known), job)| {
                match (known, job) {
                    (Some(size), _) => Ok(*size),
                    (None, Some(job)) => report::follow(job.watch(), blob, self.progress).await,
                    (None, None) => Err(PullError::Cancelled),
                }
            }))
            .await?;

        let layers = pairs.into_iter().zip(sizes).map(|((blob, diff_id), size)| Layer {
            blob: blob.digest,
            blob_size: blob.size,
            media_type: blob.media_type,
            diff_id,
            size,
        });
        let named = described.named;
        let is_new = self.keep(described, layers.collect()).await?;
        self.tell(PullProgress::Digest(named)).await;
        Ok(Answer::Image { id, is_new })
    }

    /// Finds the image that the reference means on this platform.
    async fn describe(&self) -> Result<Described, PullError> {
        let reference = self.reference;
        let asked = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or("latest").to_owned(),
        };
        let mut expected = reference.digest();
        let mut name = asked.clone();
        let mut named = None;
        for _ in 0..DEEPEST_LIST {
            let document = self.session.manifest(&name, LONGEST_MANIFEST).await?;
            let digest = digest_of(&document.bytes);
            if let Some(expected) = expected.filter(|expected| *expected != digest) {
                return Err(PullError::ManifestDigest(expected));
            }
            let parsed = manifest::parse(&document.bytes, document.media_type.as_deref(), reference)?;
            if named.is_none() {
                named = Some(digest);
                let repository = reference.repository().to_owned();
                self.tell(PullProgress::PullingFrom { repository, tag_or_digest: asked.clone() }).await;
            }
            match parsed {
                Parsed::List(list) => {
                    let chosen = manifest::choose(&list, &self.platform)?;
                    expected = Some(chosen.digest);
                    name = chosen.digest.to_string();
                }
                Parsed::Image(manifest) => {
                    let named = named.unwrap_or(digest);
                    return self.with_config(named, manifest, digest, document.bytes).await;
                }
            }
        }
        Err(PullError::NestedTooDeep(DEEPEST_LIST))
    }

    async fn with_config(
        &self,
        named: Digest,
        manifest: Manifest,
        manifest_digest: Digest,
        manifest_bytes: Vec<u8>,
    ) -> Result<Described, PullError> {
        let wanted = &manifest.config;
        if wanted.size > LONGEST_CONFIG as u64 {
            let (blob, size, limit) = (wanted.digest, wanted.size, LONGEST_CONFIG);
            return Err(PullError::TooLong { blob, size, limit });
        }
        let (shared, digest) = (self.shared.clone(), wanted.digest);
        let held = blocking(move || shared.blobs.read(&digest, LONGEST_CONFIG).ok()).await;
        let config_bytes = match held {
            Some(bytes) => bytes,
            None => self.session.small_blob(&wanted.digest, LONGEST_CONFIG).await?,
        };
        if digest_of(&config_bytes) != wanted.digest {
            return Err(PullError::ConfigDigest(wanted.digest));
        }
        let config = ImageConfig::parse(&config_bytes)
            .map_err(|error| PullError::InvalidConfig(Some(Arc::new(error))))?;
        if config.rootfs.kind != "layers" {
            return Err(PullError::InvalidConfig(None));
        }
        if !matches!(config.os.as_str(), "linux" | "") {
            return Err(PullError::OperatingSystem(config.os));
        }
        if config.rootfs.diff_ids.len() != manifest.layers.len() {
            return Err(PullError::LayersMismatch);
        }
        Ok(Described { named, manifest, manifest_digest, manifest_bytes, config, config_bytes })
    }

    /// Makes the image durable and gives it its names. Returns whether anything changed.
    async fn keep(&self, described: Described, layers: Vec<Layer>) -> Result<bool, PullError> {
        let (shared, reference) = (self.shared.clone(), self.reference.clone());
        let kept = blocking(move || {
            let changing = shared.change();
            let id = described.manifest.config.digest;
            let by_digest = reference.with_digest(described.named);
            let names = [by_digest.clone(), reference];
            let (is_there, before) = {
                let table = shared.table();
                (table.entries.contains_key(&id), names.each_ref().map(|name| table.names.get(name)))
            };
            if !is_there {
                shared.blobs.write(&described.manifest_digest, &described.manifest_bytes)?;
                shared.blobs.write(&id, &described.config_bytes)?;
                // Everything before the record, the record before its names: see the head of `image`.
                shared.layers.sync()?;
                shared.sync()?;
                let manifest = described.manifest_digest;
                let record = Record { id, manifest, layers, tagged: Utc::now() };
                shared.keep_record(&changing, record, &described.config)?;
            }
            if before != [Some(id), Some(id)] {
                shared.name(&changing, &names, id)?;
            }
            Ok(before[1] != Some(id))
        });
        kept.await.map_err(PullError::from_store_io)
    }

    async fn tell(&self, event: PullProgress) {
        // Nobody to tell is no reason to stop: whoever wants to stop drops the pull.
        let _ = self.progress.send(event).await;
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

impl Shared {
    /// The client for registries, made with the first pull.
    pub(super) fn connection(&self) -> Result<Arc<Connection>, RegistryError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let made = Arc::new(Connection::new(&self.settings)?);
        Ok(self.connection.get_or_init(|| made).clone())
    }
}

#[cfg(test)]
mod tests;
