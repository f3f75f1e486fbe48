//! Machines: a way to run a Linux guest on this host, its backends, and the virtio devices they share.
//!
//! Knows nothing of containers. Everything host and guest say runs over byte streams that are named by a
//! vsock port; the backends differ only in how they carry them.
//!
//! | backend | folder | vsock |
//! |---|---|---|
//! | `qemu` | `linux/qemu/` | our own virtio-vsock device, served to QEMU as vhost-user |
//! | `process` | `linux/process/` | Unix sockets in a folder |

mod choice;
mod machine;
// Portable, but only a backend of Linux uses it so far.
#[cfg(any(target_os = "linux", test))]
mod vsock;

#[cfg(target_os = "linux")]
mod linux;

pub use choice::{Choice, ParseChoiceError, PickError, pick};
pub use machine::*;
