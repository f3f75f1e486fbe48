//! From what a client asked for to what the kernel is told: OCI runtime specs, defaults, `/etc` files.
//!
//! All of it is a function of its arguments, but [`abilities`], which asks the host, [`etc_files`], which writes, and
//! the devices that [`spec`] finds in `/dev`. The engine therefore calls [`check`] when a container is created, for its
//! errors and warnings, and [`spec`] at every start.

pub mod abilities;
mod capabilities;
pub mod cgroup;
mod devices;
mod disk_limits;
pub mod etc_files;
pub mod limits;
pub mod merge;
mod mounts;
mod namespaces;
pub mod process;
pub mod resources;
mod rlimits;
pub(crate) mod seccomp;
mod security;
mod spec;
mod sysctls;
pub mod usage;
pub mod users;

pub use spec::{Joined, SpecError, SpecInput, check, spec};
