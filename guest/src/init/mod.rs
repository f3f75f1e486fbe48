//! Boots the machine and keeps it: boot steps, the link, the engine's life, reaping, power-off.

use std::path::PathBuf;
use std::process::ExitCode;

/// How PID 1 is started. Without folders it is that of a machine with its own kernel.
#[derive(Debug, Default, clap::Args)]
pub struct InitArgs {
    /// Folder of Unix sockets that stand in for vsock: this machine is a process of the host's
    #[arg(long, requires = "data")]
    pub sockets: Option<PathBuf>,
    /// Folder that stands in for the data disk
    #[arg(long, requires = "sockets")]
    pub data: Option<PathBuf>,
}

/// Runs until the machine ends.
pub fn run(args: InitArgs) -> ExitCode {
    if std::process::id() != 1 {
        tracing::error!("`holmd init` is the first process of a machine and nothing else");
        return ExitCode::FAILURE;
    }
    tracing::error!("no boot steps yet for {args:?}");
    ExitCode::FAILURE
}
