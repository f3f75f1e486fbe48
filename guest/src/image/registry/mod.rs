//! A registry's client (OCI distribution-spec): reads manifests and blobs, and logs in for them.

mod error;

pub(crate) use error::{RegistryError, TransportFault};
