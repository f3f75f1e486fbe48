//! What a push tells while it goes on. The API turns each event into lines of Docker's progress JSON; the words are
//! Docker's, because people and scripts read them.

use holm_api::Digest;

/// One event of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushProgress {
    /// `The push refers to repository [docker.io/library/alpine]`: the first event of all.
    RefersTo(String),
    /// Something about one layer.
    Layer {
        /// First twelve digits of the uncompressed layer's digest.
        id: String,
        /// What.
        status: LayerPush,
    },
    /// `latest: digest: sha256:… size: 527`: the registry has the image.
    Pushed {
        /// Under which tag.
        tag: String,
        /// The manifest's.
        digest: Digest,
        /// The manifest's bytes.
        size: usize,
    },
}

/// How far a layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayerPush {
    /// It will be looked at.
    Preparing,
    /// Others come first.
    Waiting,
    /// The registry has it in this repository.
    AlreadyExists,
    /// The registry took it from another of its repositories.
    MountedFrom(String),
    /// Bytes of the compressed layer.
    Pushing {
        /// On their way.
        current: u64,
        /// Of how many.
        total: u64,
    },
    /// The registry has it.
    Pushed,
}

impl LayerPush {
    /// Docker's words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Preparing => "Preparing".to_owned(),
            Self::Waiting => "Waiting".to_owned(),
            Self::AlreadyExists => "Layer already exists".to_owned(),
            Self::MountedFrom(repository) => format!("Mounted from {repository}"),
            Self::Pushing { .. } => "Pushing".to_owned(),
            Self::Pushed => "Pushed".to_owned(),
        }
    }
}
