//! `/dev/fuse` itself, where the guest's kernel is this computer's: requests come from it and replies go to it without
//! a pump in between, which halves the wake-ups of a small request and spares a large one two copies.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Device, Turn, peer};
#[cfg(target_os = "linux")]
pub(super) use linux::{Device, Turn, peer};
