//! Why a pull failed. Where Docker has words that people search for and scripts match, these are they.

use std::io;
use std::sync::Arc;

use holm_api::Digest;

use super::super::platform::Platform;
use super::super::registry::RegistryError;

/// Why an image was not pulled. Cheap to clone: pulls that share a download share its failure.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PullError {
    /// The registry has no such tag or digest.
    #[error("manifest for {reference} not found: manifest unknown: {message}")]
    ManifestUnknown {
        /// As typed.
        reference: String,
        /// The registry's words.
        message: String,
    },
    /// The registry has no such repository.
    #[error("repository {repository} not found: name unknown: {message}")]
    NameUnknown {
        /// As typed, without tag.
        repository: String,
        /// The registry's words.
        message: String,
    },
    /// The registry does not let this user see it, or hides that it does not exist.
    #[error(
        "pull access denied for {repository}, repository does not exist or may require 'docker login': \
         denied: {message}"
    )]
    Denied {
        /// As typed, without tag.
        repository: String,
        /// Whose registry.
        registry: String,
        /// The registry's words.
        message: String,
    },
    /// Anything else between us and the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A registry lists what no tag can be.
    #[error("invalid tag format: {0:?}")]
    InvalidTag(String),
    /// The index names no image for this kind of machine.
    #[error("no matching manifest for {0} in the manifest list entries")]
    NoMatchingPlatform(Platform),
    /// The image is for another system.
    #[error("cannot download image with operating system {0:?} when requesting \"linux\"")]
    OperatingSystem(String),
    /// A format from before 2016.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. \
         Suggest the author of {0} to upgrade the image to the OCI Format or Docker Image manifest v2, \
         schema 2. More information at https://docs.docker.com/go/deprecated-image-specs/"
    )]
    Schema1(String),
    /// A manifest or layer of a kind that is no image's.
    #[error("unsupported media type {0}")]
    UnsupportedMediaType(String),
    /// The manifest is not what it says it is.
    #[error("unsupported manifest format")]
    InvalidManifest(#[source] Arc<serde_json::Error>),
    /// Indexes within indexes, without end.
    #[error("the manifest list holds lists more than {0} deep")]
    NestedTooDeep(usize),
    /// More layers than the kernel stacks.
    #[error("the image has {got} layers; at most {limit} are taken")]
    TooManyLayers {
        /// As the manifest says.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The configuration is none.
    #[error("invalid rootfs in image configuration")]
    InvalidConfig(#[source] Option<Arc<serde_json::Error>>),
    /// The configuration tells other layers than the manifest.
    #[error("layers from manifest don't match image configuration")]
    LayersMismatch,
    /// A manifest's bytes have another digest than its name.
    #[error("manifest verification failed for digest {0}")]
    ManifestDigest(Digest),
    /// A configuration's bytes have another digest than its name.
    #[error("image config verification failed for digest {0}")]
    ConfigDigest(Digest),
    /// A layer's bytes have another digest than its name.
    #[error("filesystem layer verification failed for digest {0}")]
    LayerDigest(Digest),
    /// More or fewer bytes than the manifest says.
    #[error("{blob} has another size than its manifest says: {got} bytes, not {expected}")]
    Size {
        /// Which blob.
        blob: Digest,
        /// As the manifest says.
        expected: u64,
        /// As the registry says or sent.
        got: u64,
    },
    /// Something that has no business to be so long.
    #[error("{blob} is {size} bytes long; at most {limit} are taken")]
    TooLong {
        /// Which blob.
        blob: Digest,
        /// Its size by its manifest.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// The layer's bytes are right but cannot be unpacked.
    #[error("failed to register layer: {cause}")]
    Layer {
        /// Which layer.
        blob: Digest,
        /// Why.
        cause: Arc<io::Error>,
    },
    /// The machine's disk is full.
    #[error("failed to register layer: no space left on device")]
    NoSpace,
    /// The machine's disk does not do what it should.
    #[error("cannot keep the image")]
    Store(#[source] Arc<io::Error>),
    /// Every pull that wanted this layer went away. Nobody is left to read it.
    #[error("context canceled")]
    Cancelled,
}

/// What a failed pull is to the client: the HTTP status is the API's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullErrorKind {
    /// There is no such image, or not for this user.
    NotFound,
    /// The login was not accepted.
    Unauthorized,
    /// It can never work.
    Invalid,
    /// It may work another time.
    System,
}

impl PullError {
    /// An error of the disk while `blob` was written or unpacked.
    pub(super) fn from_layer_io(blob: Digest, cause: io::Error) -> Self {
        if is_full(&cause) { Self::NoSpace } else { Self::Layer { blob, cause: Arc::new(cause) } }
    }

    /// An error of the disk while records were written.
    pub(super) fn from_store_io(cause: io::Error) -> Self {
        if is_full(&cause) { Self::NoSpace } else { Self::Store(Arc::new(cause)) }
    }

    /// What kind of failure it is.
    pub(crate) fn kind(&self) -> PullErrorKind {
        match self {
            Self::ManifestUnknown { .. }
            | Self::NameUnknown { .. }
            | Self::Denied { .. }
            | Self::NoMatchingPlatform(_) => PullErrorKind::NotFound,
            Self::Registry(RegistryError::Refused { code, .. }) if code == "UNAUTHORIZED" => {
                PullErrorKind::Unauthorized
            }
            Self::Schema1(_) | Self::UnsupportedMediaType(_) | Self::InvalidManifest(_) => {
                PullErrorKind::Invalid
            }
            _ => PullErrorKind::System,
        }
    }

    /// What the user can do about it, where we know.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::ManifestUnknown { .. } => Some("check the tag: the repository has others".to_owned()),
            Self::NameUnknown { .. } => Some("check the spelling of the repository".to_owned()),
            Self::Denied { registry, .. } => {
                Some(format!("check the spelling; if the repository is private, log in to {registry} first"))
            }
            Self::Registry(error) => error.hint(),
            Self::NoMatchingPlatform(_) => {
                Some("choose a platform that the image has with --platform".to_owned())
            }
            Self::NoSpace => Some(
                "remove images with `holm rmi` and containers with `holm rm`, or raise disk-size in the \
                 settings"
                    .to_owned(),
            ),
            Self::LayerDigest(_) | Self::ConfigDigest(_) | Self::ManifestDigest(_) | Self::Size { .. } => {
                Some(
                    "the registry or something on the way to it changes data; try again or ask who runs it"
                        .to_owned(),
                )
            }
            _ => None,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
