//! What a pull tells while it goes on. The engine turns each event into a line of Docker's progress JSON; the
//! words are Docker's, because people and scripts read them.

use holm_api::Digest;

/// One event of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PullProgress {
    /// `<tag or digest>: Pulling from <repository>`.
    PullingFrom {
        /// Path inside the registry: `library/alpine`.
        repository: String,
        /// `latest`, or `sha256:…`.
        tag_or_digest: String,
    },
    /// Something about one layer.
    Layer {
        /// First twelve digits of the layer's blob.
        id: String,
        /// What.
        status: LayerStatus,
    },
    /// `Digest: sha256:…`: of what the reference means at the registry.
    Digest(Digest),
    /// `Status: …`, the last line.
    Status(String),
}

/// How far a layer is. In the order in which they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerStatus {
    /// It will be downloaded.
    PullingFsLayer,
    /// Others come first.
    Waiting,
    /// Bytes of the compressed layer.
    Downloading {
        /// So far.
        current: u64,
        /// Of how many.
        total: u64,
    },
    /// All bytes came.
    VerifyingChecksum,
    /// They are the right ones.
    DownloadComplete,
    /// Bytes of the compressed layer.
    Extracting {
        /// So far.
        current: u64,
        /// Of how many.
        total: u64,
    },
    /// The layer is unpacked.
    PullComplete,
    /// It was there before; the only event of such a layer.
    AlreadyExists,
}

impl LayerStatus {
    /// The words for it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::PullingFsLayer => "Pulling fs layer",
            Self::Waiting => "Waiting",
            Self::Downloading { .. } => "Downloading",
            Self::VerifyingChecksum => "Verifying Checksum",
            Self::DownloadComplete => "Download complete",
            Self::Extracting { .. } => "Extracting",
            Self::PullComplete => "Pull complete",
            Self::AlreadyExists => "Already exists",
        }
    }

    /// Bytes so far and in all, where it counts bytes.
    pub(crate) fn bytes(self) -> Option<(u64, u64)> {
        match self {
            Self::Downloading { current, total } | Self::Extracting { current, total } => {
                Some((current, total))
            }
            _ => None,
        }
    }
}
