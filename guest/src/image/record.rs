//! What is kept of an image beside its blobs, and the image as the rest of the engine sees it.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use holm_api::{Digest, Reference};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::config::ImageConfig;

/// The file of one image: which of its blobs mean what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Digest of the configuration.
    pub(super) id: Digest,
    /// Digest of the manifest that names configuration and layers.
    pub(super) manifest: Digest,
    /// The lowest first.
    pub(super) layers: Vec<Layer>,
    /// When the image last got a name, or came.
    pub(super) tagged: DateTime<Utc>,
}

/// A layer: as it came, and as it is unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Layer {
    /// Digest of the bytes that came.
    pub(crate) blob: Digest,
    /// How many they are.
    pub(crate) blob_size: u64,
    /// What they are.
    pub(crate) media_type: String,
    /// Digest of the uncompressed tar.
    pub(crate) diff_id: Digest,
    /// Bytes of its files.
    pub(crate) size: u64,
}

/// An image, as it was when it was looked up.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(super) entry: Arc<Entry>,
    pub(super) references: Vec<Reference>,
}

/// A record with its configuration read.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) config: ImageConfig,
}

impl Image {
    /// Digest of the configuration: the image's id.
    pub(crate) fn id(&self) -> Digest {
        self.entry.record.id
    }

    /// What it says of itself.
    pub(crate) fn config(&self) -> &ImageConfig {
        &self.entry.config
    }

    /// Digest of its manifest, as it came.
    pub(crate) fn manifest(&self) -> Digest {
        self.entry.record.manifest
    }

    /// Its layers, the lowest first.
    pub(crate) fn layers(&self) -> &[Layer] {
        &self.entry.record.layers
    }

    /// Digests of its uncompressed layers, the lowest first.
    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        self.layers().iter().map(|layer| layer.diff_id).collect()
    }

    /// Bytes of all files of all layers.
    pub(crate) fn size(&self) -> u64 {
        self.layers().iter().map(|layer| layer.size).sum()
    }

    /// When it was made, where it says so.
    pub(crate) fn created(&self) -> Option<DateTime<Utc>> {
        let text = self.config().created.as_deref()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
    }

    /// When it last got a name, or came.
    pub(crate) fn tagged(&self) -> DateTime<Utc> {
        self.entry.record.tagged
    }

    /// All its names, those by tag and those by digest.
    pub(crate) fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Names by tag as a user types them: `alpine:3`.
    pub(crate) fn repo_tags(&self) -> Vec<String> {
        self.references.iter().filter(|name| name.tag().is_some()).map(Reference::familiar).collect()
    }

    /// Names by digest as a user types them: `alpine@sha256:…`.
    pub(crate) fn repo_digests(&self) -> Vec<String> {
        self.references.iter().filter(|name| name.digest().is_some()).map(Reference::familiar).collect()
    }

    /// What `docker history` lists, the newest step first. `<missing>` ids are the caller's words.
    pub(crate) fn history(&self) -> Vec<HistoryEntry> {
        let mut sizes = self.layers().iter().map(|layer| layer.size);
        let mut entries: Vec<HistoryEntry> = self
            .config()
            .history
            .iter()
            .map(|step| HistoryEntry {
                created: step
                    .created
                    .as_deref()
                    .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
                    .map(|time| time.to_utc()),
                created_by: step.created_by.clone().unwrap_or_default(),
                comment: step.comment.clone().unwrap_or_default(),
                size: if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) },
            })
            .collect();
        entries.reverse();
        entries
    }
}

/// One step of an image's making, with what it added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HistoryEntry {
    /// When, where the image says so.
    pub(crate) created: Option<DateTime<Utc>>,
    /// What was run.
    pub(crate) created_by: String,
    /// Free text.
    pub(crate) comment: String,
    /// Bytes of the files that it added.
    pub(crate) size: u64,
}

/// Names of the stacks that these layers make (OCI image-spec, "Layer ChainID"): each layer with all below it.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Option<Digest> = None;
    diff_ids
        .iter()
        .map(|diff_id| {
            let next = match chain {
                None => *diff_id,
                Some(below) => {
                    Digest::from_bytes(Sha256::digest(format!("{below} {diff_id}").as_bytes()).into())
                }
            };
            chain = Some(next);
            next
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_starts_with_its_lowest_layer_and_depends_on_the_order() {
        let [a, b] = [Digest::from_bytes([1; 32]), Digest::from_bytes([2; 32])];
        let chain = chain_ids(&[a, b]);
        assert_eq!(chain[0], a);
        assert_eq!(chain[1], Digest::from_bytes(Sha256::digest(format!("{a} {b}")).into()));
        assert_ne!(chain_ids(&[b, a])[1], chain[1]);
    }

    #[test]
    fn steps_without_a_layer_have_no_size_and_the_newest_comes_first() {
        let layer = |n, size| Layer {
            blob: Digest::from_bytes([n; 32]),
            blob_size: 1,
            media_type: String::new(),
            diff_id: Digest::from_bytes([n; 32]),
            size,
        };
        let config = ImageConfig::parse(
            br#"{"rootfs":{"type":"layers","diff_ids":[]},"history":[{"created_by":"first"},
                {"created_by":"env","empty_layer":true},{"created_by":"last"}]}"#,
        )
        .unwrap();
        let record = Record {
            id: Digest::from_bytes([0; 32]),
            manifest: Digest::from_bytes([0; 32]),
            layers: vec![layer(1, 10), layer(2, 20)],
            tagged: Utc::now(),
        };
        let image = Image { entry: Arc::new(Entry { record, config }), references: Vec::new() };
        let steps: Vec<_> = image.history().into_iter().map(|step| (step.created_by, step.size)).collect();
        assert_eq!(steps, [("last".into(), 20), ("env".into(), 0), ("first".into(), 10)]);
    }
}
