//! Pulls an image: finds out what a reference means, fetches what is missing, and names it.

mod error;
mod progress;

pub(crate) use error::{PullError, PullErrorKind};
pub(crate) use progress::{LayerStatus, PullProgress};

use holm_api::Reference;

use super::platform::Platform;
use super::settings::RegistryAuth;

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
