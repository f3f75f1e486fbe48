//! Why a push failed, in Docker's words.

use std::io;

use super::super::find::FindError;
use super::super::registry::RegistryError;

/// Why an image is not, or not wholly, at its registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PushError {
    /// Nothing has a name in this repository.
    #[error("An image does not exist locally with the tag: {0}")]
    NoSuchRepository(String),
    /// Nothing has this name.
    #[error("tag does not exist: {0}")]
    NoSuchTag(String),
    /// All tags are to be pushed, and there are none.
    #[error("no tags to push for {0}")]
    NoTags(String),
    /// A digest is what a push results in.
    #[error("cannot push a digest reference")]
    ByDigest,
    /// The image is for another machine than the one that was asked for.
    #[error(
        "image with reference {reference} was found but its platform ({has}) does not match the specified \
         platform ({wanted})"
    )]
    Platform {
        /// As typed.
        reference: String,
        /// What it is for.
        has: String,
        /// What was asked for.
        wanted: String,
    },
    /// The name means no image.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Anything between us and the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The machine's disk does not do what it should.
    #[error("cannot read the image: {0}")]
    Store(#[from] io::Error),
}

impl PushError {
    /// What the user can do about it, where we know.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchRepository(name) | Self::NoSuchTag(name) => {
                Some(format!("give an image this name first: holm tag IMAGE {name}"))
            }
            Self::Registry(RegistryError::Refused { code, registry, .. }) if code == "DENIED" => Some(
                format!("check the name, and log in as somebody who may write there: holm login {registry}"),
            ),
            Self::Registry(error) => error.hint(),
            _ => None,
        }
    }
}
