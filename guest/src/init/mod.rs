//! Boots the machine and keeps it: boot steps, the link, the engine's life, reaping, power-off.
//!
//! ```text
//!   prepare (root … engine … data disk) ─► link ─► configure (clock … network) ─► the engine goes on ─► Ready
//!        └────────── the first failure waits for the link ──────────────────┴────► Failed, power off
//! ```
//!
//! Whatever comes next is the supervisor's. Nothing is undone step by step when a boot fails: all that was made
//! lives in this machine (or in these namespaces) and ends with it, and the data disk is unmounted on every way out.

mod boot;
mod cgroups;
mod clock;
mod data_disk;
mod engine;
mod files;
mod life;
mod limits;
mod link;
mod mounts;
mod power;
mod private_root;
mod reaper;
mod resize;
mod supervisor;

use std::path::PathBuf;
use std::process::ExitCode;

use boot::Boot;

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
    // It mounts over everything and, at its end, kills every process it can see.
    if std::process::id() != 1 {
        tracing::error!("`holmd init` is the first process of a machine and nothing else");
        return ExitCode::FAILURE;
    }
    let mut boot = Boot::new(args.sockets.zip(args.data));
    let prepared = boot::prepare(&mut boot);
    let place = boot.place.clone();
    // One thread: the supervisor waits nearly always, and the network's packets have threads of their own.
    let end = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(supervisor::supervise(boot, prepared)),
        Err(error) => {
            tracing::error!(%error, "cannot wait for anything");
            supervisor::End::Failed
        }
    };
    power::off(&place, end)
}
