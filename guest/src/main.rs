//! `holmd`: Holm inside its Linux machine. One static program, three processes.
//!
//! ```text
//!   holmd init     PID 1: boot steps, the link to the host, reaping; parses nothing from outside
//!     ├─ holmd engine   the Engine API: images, containers, networks; may die and be started again
//!     └─ holmd shim     one a container: owns its streams, log and exit status; outlives the engine
//! ```
//!
//! Inside the engine the arrows run one way, `api → engine → {image, snapshot, container, network}`, and
//! those four do not import each other.

mod api;
mod container;
mod engine;
mod image;
mod init;
mod layout;
mod network;
mod shim;
mod snapshot;
mod transport;

fn main() {}
