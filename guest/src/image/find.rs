//! From what a client typed to one image: an id, the start of one, a name or a digest.

use holm_api::{Digest, ParseReferenceError, Reference};

use super::Images;
use super::record::Image;

/// Why a text means no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FindError {
    /// It cannot mean one.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// There is none.
    #[error("No such image: {0}")]
    NotFound(String),
}

impl Images {
    /// The image that `text` means: a full id with or without `sha256:`, a reference, or the start of an id
    /// that no other has. In this order, as in Docker.
    pub(crate) fn find(&self, text: &str) -> Result<Image, FindError> {
        let full_id = text.parse().ok().or_else(|| format!("sha256:{text}").parse::<Digest>().ok());
        if let Some(id) = full_id {
            return self.get(&id).ok_or_else(|| FindError::NotFound(text.to_owned()));
        }
        // The start of an id that still carries its algorithm parses as `sha256:<tag>`, so what does not parse
        // means nothing at all.
        let reference = text.parse::<Reference>()?;
        let found = self.get_named(&reference).or_else(|| self.get_by_prefix(text));
        found.ok_or_else(|| FindError::NotFound(reference.or_latest().familiar()))
    }

    fn get_by_prefix(&self, text: &str) -> Option<Image> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut matching = self.list().into_iter().filter(|image| image.id().hex().starts_with(digits));
        let first = matching.next()?;
        // Two images that begin alike: neither is meant for sure.
        matching.next().is_none().then_some(first)
    }
}

/// Whether `text` is (the start of) this id, and so names the image itself and none of its names.
pub(super) fn is_id_prefix(id: &Digest, text: &str) -> bool {
    id.to_string().starts_with(text) || id.hex().starts_with(text)
}
