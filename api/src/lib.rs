//! What Holm's host and guest say to each other: ids, image references, digests, stream frames and the
//! private link. Types and codecs only: no sockets, no files, no async, no clock, so it builds everywhere.

mod digest;
mod duration;
mod id;
mod reference;

pub mod check;
pub mod diagnosis;
pub mod files;
pub mod link;
pub mod network;
pub mod services;
pub mod stream;

pub use digest::{Digest, ParseDigestError};
pub use duration::human_duration;
pub use id::{ContainerId, ContainerRef, EndpointId, ExecId, NetworkId, ParseIdError};
pub use reference::{DEFAULT_REGISTRY, ParseReferenceError, Reference};

/// The Engine API's bodies, as generated from moby's published description of version 1.51.
pub use bollard_stubs::models;
/// The newest Engine API version that is spoken here.
pub const API_VERSION: &str = "1.51";
/// The oldest Engine API version that is spoken here.
pub const MIN_API_VERSION: &str = "1.24";
/// The version that all of Holm's programs carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A vsock port number, in the sense of `sockaddr_vm.svm_port` (vsock(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VsockPort(pub u32);

impl std::fmt::Display for VsockPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The ports that host and guest agree on. The comment says who listens.
pub mod port {
    use super::VsockPort;

    /// Guest: the private link, see [`crate::link`].
    pub const LINK: VsockPort = VsockPort(1024);
    /// Guest: the Engine API, HTTP/1.1, one vsock connection a client connection.
    pub const ENGINE: VsockPort = VsockPort(2375);
    /// Guest: the same, for clients that reached the host over TCP without TLS: requests that a web page
    /// could have sent are refused.
    pub const ENGINE_OPEN: VsockPort = VsockPort(2376);
    /// Host: IP packets of the guest's TUN device, see [`crate::network`].
    pub const NETWORK: VsockPort = VsockPort(1027);
    /// Host: the files of a shared folder, see [`crate::files`].
    pub const FILES: VsockPort = VsockPort(1028);
    /// Host: what the engine asks for, see [`crate::services`].
    pub const SERVICES: VsockPort = VsockPort(1029);
}
