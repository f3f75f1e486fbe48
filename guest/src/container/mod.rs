//! From what a client asked for to what the kernel is told: OCI runtime specs, defaults, `/etc` files.
//!
//! Everything here is a function of its arguments but two: [`abilities`] asks the host, and [`etc_files`]
//! writes. The engine therefore calls [`spec`] when a container is created, for its errors and warnings, and
//! again at every start, for the spec.

pub mod abilities;
pub mod etc_files;
pub mod merge;
mod spec;
pub mod users;

pub use spec::{Joined, SpecError, SpecInput, spec};
