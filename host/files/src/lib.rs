//! Folders of the host for a Linux guest: a FUSE server which knows nothing of how requests reach it.
//!
//! ```text
//!   transport ── request ──► Server::handle ── reply ──►     fuse/    the ABI: a codec, on every host
//!   watcher ──── changed ──► Server                          server/  nodes, handles, locks, what may be cached
//!             ◄─ messages ── Outgoing                        os/      the host's file system, by descriptors
//! ```
//!
//! One server is one share: a folder or a file, and nothing outside it. What the guest sends is untrusted; the worst
//! that it reaches is what was shared.

#[cfg(target_os = "linux")]
pub mod direct;
mod fuse;
mod os;
mod server;

pub use fuse::errno::Errno;
pub use os::Descriptor;
#[cfg(target_os = "linux")]
pub use os::DeviceBacking;
pub use server::backed::Backing;
pub use server::changes::Author;
pub use server::outgoing::{Answered, Message, Outgoing};
pub use server::owners::{Owner, Ownership};
pub use server::{Access, Counts, NoWatch, NodeId, Options, Root, RootError, RootKind, Server, Watch};

/// Bytes of the largest request: what `/dev/fuse` is read by.
pub const MAX_REQUEST: usize = (1 << 20) + 4096;
