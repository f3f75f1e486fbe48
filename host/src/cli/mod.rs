//! What the user types and reads. Arguments in, Engine API calls, text out.
//!
//! ```text
//!   run ─► flags, usage      arguments as Docker reads them, help and complaints in its words
//!       ─► options           what the values of flags mean
//!       ─► arguments         the commands as clap sees them
//!       ─► global, endpoint  which daemon is meant, by flags, variables and contexts
//!       ─► container/ image/ system/ machine     one file a command
//!            ─► client/      Engine API over the daemon's socket
//!            ─► template/    Go templates of --format
//!            ─► output/      tables, units, times, progress
//!       ─► error             the only place that prints one
//! ```

mod arguments;
mod attach;
mod client;
mod completion;
mod config;
mod container;
mod context;
mod credentials;
mod doctor;
mod endpoint;
mod environment;
mod error;
mod filter;
mod flags;
mod global;
mod image;
mod inspect;
mod machine;
mod network;
mod options;
mod output;
mod prompt;
mod prune;
mod registry;
mod session;
mod settings;
mod share;
mod system;
mod template;
mod usage;
mod volume;

use std::ffi::OsString;
use std::process::ExitCode;

pub(crate) use environment::{
    Daemon, Environment, Failure, MachineOrder, MachineReport, MachineState, Program, SharedPath,
    Surroundings,
};

use error::CliError;

/// Does what the arguments say; the first of them is the name that the program was called by. Prints its
/// output and its errors, and returns the exit status that Docker's command line would give.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>, environment: Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let program = arguments.first().map_or(Program::Holm, |name| Program::called_as(name));
    let outcome = usage::parse(program, &arguments)
        .and_then(|parsed| arguments::dispatch(parsed, program, environment));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            error.print(&mut std::io::stderr().lock());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Makes the runtime that a command's requests run on. One thread is enough: they wait most of the time.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|cause| CliError::Local { what: "cannot start".to_owned(), cause })
}
