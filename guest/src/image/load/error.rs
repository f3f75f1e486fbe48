//! Why an archive of images was not loaded. Where Docker has words, these are they; what is wrong is named.

use std::io;
use std::sync::Arc;

use holm_api::Digest;

use crate::archive::ArchiveError;
use crate::image::PullError;
use crate::image::platform::Platform;

/// Why no image came of an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// It is no tar, or ends in the middle of something, or the client broke off.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Compressed in a way that is not taken.
    #[error("archives by {0} are not taken; gzip and zstd are")]
    Packing(&'static str),
    /// A member or a link of it that leads out.
    #[error("{0:?} is outside of the archive")]
    Outside(String),
    /// Which of the two is meant, nobody can tell.
    #[error("{0:?} is twice in the archive, and not the same")]
    Twice(String),
    /// More members, or longer names of them, than any archive of images has.
    #[error("the archive has more than {0} members")]
    TooManyMembers(usize),
    /// What the manifest names is not there.
    #[error("open {0}: no such file or directory")]
    Missing(String),
    /// It is there, and is nothing that could be read.
    #[error("{path:?} is {what} in the archive, not a file")]
    NoFile {
        /// Which member.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// A manifest or configuration that is far longer than those are.
    #[error("{path} is {size} bytes long; at most {limit} are taken")]
    TooLong {
        /// Which member.
        path: String,
        /// How long it is.
        size: u64,
        /// How long it may be.
        limit: usize,
    },
    /// A manifest or configuration that is none.
    #[error("{path}: {cause}")]
    Json {
        /// Which member.
        path: String,
        /// Why not.
        cause: serde_json::Error,
    },
    /// An archive of something else.
    #[error("the archive holds no images: it has neither manifest.json nor index.json")]
    NoManifest,
    /// In moby's words.
    #[error("invalid manifest, manifest cannot be null (but can be [])")]
    NullManifest,
    /// A name that an image cannot have.
    #[error("{0}")]
    Name(#[from] holm_api::ParseReferenceError),
    /// A name without a tag.
    #[error("invalid tag {0:?}")]
    InvalidTag(String),
    /// The configuration tells other layers than the manifest.
    #[error("invalid manifest, layers length mismatch: expected {expected}, got {got}")]
    LayersMismatch {
        /// Of the manifest.
        expected: usize,
        /// Of the configuration.
        got: usize,
    },
    /// A layer's tar has another digest than the configuration says.
    #[error("invalid diffID for layer {index}: expected {:?}, got {:?}", .expected.to_string(), .got.to_string())]
    DiffId {
        /// Which layer, from the bottom.
        index: usize,
        /// As the configuration says.
        expected: Digest,
        /// As it is.
        got: Digest,
    },
    /// A file whose name is a digest has another one.
    #[error("{path}: its content has the digest {got}")]
    WrongDigest {
        /// Which member.
        path: String,
        /// What it has.
        got: Digest,
    },
    /// The image is for another system.
    #[error("cannot load {0} image on linux")]
    OperatingSystem(String),
    /// The configuration has no layers that we know.
    #[error("{0}: invalid rootfs in image configuration")]
    RootFs(String),
    /// A manifest or list that cannot be used.
    #[error("{path}: {cause}")]
    Manifest {
        /// Which member.
        path: String,
        /// Why not.
        cause: PullError,
    },
    /// The client wants one kind of machine, and the archive has images for others.
    #[error("the archive has no image for platform {0}")]
    NoPlatform(Platform),
    /// A layer cannot be unpacked.
    #[error("{path}: {cause}")]
    Layer {
        /// Which member.
        path: String,
        /// Why not.
        cause: Arc<io::Error>,
    },
    /// The machine's disk is full.
    #[error("failed to keep the archive's images: no space left on device")]
    NoSpace,
    /// The machine's disk does not do what it should.
    #[error("cannot keep the image")]
    Store(#[source] io::Error),
    /// The client went away.
    #[error("context canceled")]
    Cancelled,
}

impl LoadError {
    /// An error of the disk while something was written to the store.
    pub(in crate::image) fn store(cause: io::Error) -> Self {
        if is_full(&cause) { Self::NoSpace } else { Self::Store(cause) }
    }

    /// An error while a file system was read or unpacked that becomes an image.
    pub(in crate::image) fn import(cause: io::Error) -> Self {
        if is_full(&cause) { Self::NoSpace } else { Self::Archive(ArchiveError::Read(cause)) }
    }

    /// An error while a layer was unpacked.
    pub(super) fn layer(path: &str, cause: Arc<io::Error>) -> Self {
        if is_full(&cause) { Self::NoSpace } else { Self::Layer { path: path.to_owned(), cause } }
    }

    /// What the user can do about it, where we know.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoSpace => Some(
                "remove images with `holm rmi` and containers with `holm rm`, or raise disk-size in the settings",
            ),
            Self::NoManifest => {
                Some("to make an image of a file system, such as `holm export` writes, use `holm import`")
            }
            _ => None,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
