//! What the daemon knows and decides: containers, their states, events. Introduces the parts to each other.

use std::path::PathBuf;
use std::process::ExitCode;

/// How init starts the engine. Descriptor 3 is a pipe on which it writes `ready\n` once the Engine API listens.
#[derive(Debug, clap::Args)]
pub struct EngineArgs {
    /// Root of all that survives a restart of the machine
    #[arg(long)]
    pub data: PathBuf,
    /// Root of all that does not
    #[arg(long)]
    pub run: PathBuf,
    /// Folder of Unix sockets that stand in for vsock
    #[arg(long)]
    pub sockets: Option<PathBuf>,
}

/// Serves until SIGTERM.
pub fn run(args: EngineArgs) -> ExitCode {
    tracing::error!("nothing to serve from {} yet", args.data.display());
    ExitCode::FAILURE
}
