//! What can go wrong in the engine, a variant for each thing that a client would do differently. Where Docker
//! has words for it, these are its words: scripts and people read them.

use std::io;

use crate::container::SpecError;
use crate::network::NetworkError;
use crate::shim::client::ShimError;
use crate::shim::protocol::{Failure, FailureKind};
use crate::volume::VolumeError;

/// Decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The request makes no sense.
    Invalid,
    /// The registry wants to know who asks.
    Unauthorized,
    /// What was named does not exist.
    NotFound,
    /// It is not to be had, whoever asks.
    Forbidden,
    /// It exists and is in a state that does not allow it.
    Conflict,
    /// It will exist one day.
    NotImplemented,
    /// Not now, or not here.
    Unavailable,
    /// Our own fault, or the machine's.
    Internal,
}

/// An error of the engine, as a client reads it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// Nothing has this id, start of an id, or name.
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    /// No further process has this id, or its container is gone.
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    /// Likewise for images.
    #[error("No such image: {0}")]
    NoSuchImage(String),
    /// Likewise for networks.
    #[error("network {0} not found")]
    NoSuchNetwork(String),
    /// What a volume cannot do, in the words of the module that met it.
    #[error(transparent)]
    Volume(VolumeError),
    /// A path that leads to nothing in a container.
    #[error("Could not find the file {path} in container {container}")]
    NoSuchFile {
        /// As the client wrote it.
        path: String,
        /// Likewise.
        container: String,
    },
    /// Two or more ids begin so.
    #[error("multiple IDs found with provided prefix: {0}")]
    AmbiguousId(String),
    /// Names are unique.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{id}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// The name, without its slash.
        name: String,
        /// Who has it.
        id: String,
    },
    /// Only running containers take signals.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// Something else that was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// What nobody may do.
    #[error("{0}")]
    Forbidden(String),
    /// Another rule about what can be done in which state.
    #[error("{0}")]
    Conflict(String),
    /// A field, a filter or a parameter with a value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The runtime could not start the container's program. The words are its own, and Docker's.
    #[error("{}", .0.message)]
    Start(Failure),
    /// One of the others, met while something larger was done.
    #[error("{doing}: {cause}")]
    While {
        /// In Docker's words.
        doing: String,
        /// Decides what the client makes of it.
        cause: Box<EngineError>,
    },
    /// What issues of later versions bring.
    #[error("{0}")]
    NotImplemented(String),
    /// The daemon is about to end, or an abort came in between.
    #[error("{0}")]
    Unavailable(String),
    /// A registry's refusal or an image's fault, in the words of the module that met it.
    #[error("{message}")]
    Image {
        /// What to answer with.
        kind: ErrorKind,
        /// For the client.
        message: String,
        /// What to do about it, where that is known.
        hint: Option<String>,
    },
    /// The machine's disk, processes or network did not do as they were told.
    #[error("{doing}: {cause}")]
    System {
        /// What was attempted.
        doing: String,
        /// Why it failed.
        cause: io::Error,
    },
    /// A task of ours ended before it had answered.
    #[error("{0}")]
    Internal(String),
}

impl EngineError {
    /// What the client should make of it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::NoSuchContainer(_)
            | Self::NoSuchExec(_)
            | Self::NoSuchImage(_)
            | Self::NoSuchNetwork(_) => ErrorKind::NotFound,
            Self::AmbiguousId(_) | Self::Invalid(_) => ErrorKind::Invalid,
            Self::NameInUse { .. } | Self::NotRunning(_) | Self::Conflict(_) => ErrorKind::Conflict,
            Self::Start(failure) => match failure.kind {
                FailureKind::NotFound | FailureKind::NotExecutable => ErrorKind::Invalid,
                FailureKind::Other => ErrorKind::Internal,
            },
            Self::While { cause, .. } => cause.kind(),
            Self::NoSuchFile { .. } | Self::NotFound(_) => ErrorKind::NotFound,
            Self::Forbidden(_) => ErrorKind::Forbidden,
            Self::Volume(error) => super::volumes::kind(&error.problem),
            Self::NotImplemented(_) => ErrorKind::NotImplemented,
            Self::Unavailable(_) => ErrorKind::Unavailable,
            Self::Image { kind, .. } => *kind,
            Self::System { .. } | Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// The next thing to do, where we know it.
    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Image { hint, .. } => hint.as_deref(),
            _ => None,
        }
    }

    /// The same error with Docker's words for what was being done in front of its own.
    pub(crate) fn while_doing(self, doing: impl Into<String>) -> Self {
        Self::While { doing: doing.into(), cause: Box::new(self) }
    }

    /// For `map_err`: an I/O error met while `doing`, as in `write the record of 0123456789ab`.
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |cause| Self::System { doing: format!("cannot {doing}"), cause }
    }
}

impl From<ShimError> for EngineError {
    fn from(error: ShimError) -> Self {
        match error {
            ShimError::Container(failure) => Self::Start(failure),
            ShimError::Io(cause) => {
                Self::System { doing: "cannot reach the container's shim".to_owned(), cause }
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<SpecError> for EngineError {
    fn from(error: SpecError) -> Self {
        match error {
            SpecError::Unexpected(words) | SpecError::AtStart(words) => Self::Internal(words),
            SpecError::InRuntime(words) => Self::Start(Failure::of_runtime(&words)),
            refused @ (SpecError::NoCommand | SpecError::Invalid(_) | SpecError::Unsupported(_)) => {
                Self::Invalid(refused.to_string())
            }
        }
    }
}

impl From<NetworkError> for EngineError {
    fn from(error: NetworkError) -> Self {
        let NetworkError::Kernel { step, cause } = error;
        Self::System { doing: format!("cannot {step}"), cause }
    }
}
