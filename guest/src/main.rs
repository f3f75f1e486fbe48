//! `holmd`: Holm inside its Linux machine. One static program, six processes.
//!
//! ```text
//!   holmd init     PID 1: boot steps, the link to the host, reaping; parses nothing from outside
//!     ├─ holmd engine   the Engine API: images, containers, networks; may die and be started again
//!     ├─ holmd shim     one a container: owns its streams, log and exit status; outlives the engine
//!     │    └─ holmd compress    for each of its logs that was rotated away and is to be compressed
//!     ├─ holmd pump     one a folder of the computer's that is mounted; outlives the engine
//!     └─ holmd files    one for each look into a container's files: cp, export, diff, commit
//! ```
//!
//! Inside the engine the arrows run one way, `api → engine → {image, snapshot, container, network}`, and
//! those four do not import each other.

#![allow(unreachable_pub, reason = "a program exports nothing: `pub` marks what a module offers the others")]

mod api;
mod archive;
mod container;
mod engine;
mod files;
mod image;
mod init;
mod inside;
mod layout;
mod network;
mod pump;
mod services;
mod shim;
mod snapshot;
mod transport;
mod volume;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

/// What `holmd` is started as.
#[derive(Debug, Parser)]
#[command(name = "holmd", version, about)]
enum Command {
    /// Boot this machine and keep it; only as its first process
    Init(init::InitArgs),
    /// Serve the Engine API; started by init
    Engine(engine::EngineArgs),
    /// Keep one container; started by the engine
    Shim {
        /// Folder with config.json and shim.json
        bundle: PathBuf,
    },
    /// Mount a folder of the computer's; started by the engine
    Pump,
    /// Look into a container's files, or change them; started by the engine
    Files,
    /// Compress a log that was rotated away; started by a shim
    Compress {
        /// The log
        path: PathBuf,
    },
}

fn main() -> ExitCode {
    if let Some(words) = shim::reaper::asked(std::env::args_os()) {
        return shim::reaper::run(&words);
    }
    // Standard error is the machine's console, which has the kernel's own time stamps beside ours and
    // understands no colours.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_env_filter(EnvFilter::try_from_env("HOLM_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    match command() {
        Command::Init(args) => init::run(args),
        Command::Engine(args) => engine::run(args),
        Command::Shim { bundle } => shim::run(bundle),
        Command::Pump => pump::run(),
        Command::Files => files::run(),
        Command::Compress { path } => shim::compress::run(&path),
    }
}

/// A kernel starts its first process as `/init` followed by whatever words of its own command line it did not
/// know, so what PID 1 of a machine finds in its arguments is not meant for it.
fn command() -> Command {
    let named = std::env::args_os().nth(1).is_some_and(|word| word == "init");
    if std::process::id() == 1 && !named {
        return Command::Init(init::InitArgs::default());
    }
    Command::parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Command as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_process_machine_needs_both_folders() {
        assert!(Command::try_parse_from(["holmd", "init", "--sockets", "/s"]).is_err());
        assert!(Command::try_parse_from(["holmd", "init", "--sockets", "/s", "--data", "/d"]).is_ok());
        assert!(Command::try_parse_from(["holmd", "init"]).is_ok());
    }
}
