//! `holmd shim`: one process per container. It creates the container with libcontainer, owns its terminal or
//! pipes, its log file and its exit status, and serves them on a Unix socket, so that containers outlive the
//! engine.

mod attached;
pub mod bundle;
pub mod client;
mod message;
pub mod protocol;

use std::path::PathBuf;
use std::process::ExitCode;

/// Keeps the container of this bundle until it has exited and the engine has forgotten it.
pub fn run(bundle: PathBuf) -> ExitCode {
    tracing::error!("nothing to run in {} yet", bundle.display());
    ExitCode::FAILURE
}
