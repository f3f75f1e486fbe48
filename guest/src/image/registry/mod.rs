//! A registry's client (OCI distribution-spec): reads and writes manifests and blobs, and logs in for them.
//!
//! Built on `reqwest` and not on `oci-client`, which cannot dial another address than a name means (for
//! `localhost`), reads manifests of any length into memory, hides status codes and `Retry-After`, knows no
//! mirrors with a path, and trusts insecure registries all or none.

mod blob;
mod challenge;
mod check;
mod connection;
mod content;
mod dial;
mod endpoint;
mod error;
mod login;
mod refusal;
mod search;
mod session;
mod tags;
mod tls;
mod upload;

pub(super) use blob::BlobError;
pub(crate) use check::LoginError;
pub(super) use check::check;
pub(super) use connection::{Connection, host_and_port};
pub(super) use endpoint::{Endpoint, endpoints, push_endpoints};
pub(crate) use error::{RegistryError, TransportFault};
pub(super) use search::search;
pub(super) use session::{Access, Document, Session};
pub(super) use upload::{Blob, Mount};

use std::time::Duration;

/// How long the other side may take, and how often it is asked again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until a connection stands.
    pub(crate) connect: Duration,
    /// Until an answer begins, and between two pieces of it.
    pub(crate) silence: Duration,
    /// Until a registry has put away what it was sent.
    pub(crate) storing: Duration,
    /// Attempts without any progress before we give up.
    pub(crate) attempts: u32,
    /// Pause after the first failed attempt; it doubles with each.
    pub(crate) pause: Duration,
    /// Longest pause that a registry may ask for by `Retry-After`; one that asks for more is believed to mean no.
    pub(crate) longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            storing: Duration::from_secs(300),
            attempts: 5,
            pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// How long to wait after the attempt with this number, counted from one.
    fn pause_after(&self, attempt: u32) -> Duration {
        self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(self.longest_pause)
    }
}
