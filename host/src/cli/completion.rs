//! Completion scripts and manual pages, made from the definitions that parse the flags.

use std::path::PathBuf;

use clap_complete::Shell;

use super::environment::Program;
use super::error::CliError;
use super::{session, usage};

/// `holm completion`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum, value_name = "bash|zsh|fish|powershell")]
    shell: Shell,
}

/// `holm generate-man`
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// An existing folder
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the script that teaches a shell our commands and flags.
pub(crate) fn print_script(args: &Args, program: Program) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut usage::commands(program), program.command(), &mut script);
    session::print(&String::from_utf8_lossy(&script))
}

/// Writes one page a command.
pub(crate) fn write_manual(args: &ManArgs) -> Result<(), CliError> {
    clap_mangen::generate_to(usage::commands(Program::Holm), &args.directory).map_err(|cause| {
        CliError::Local {
            what: format!("cannot write manual pages into {}", args.directory.display()),
            cause,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_gets_a_script_that_knows_our_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut usage::commands(Program::Holm), "holm", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("no-trunc"), "{shell}");
        }
    }

    #[test]
    fn every_command_gets_a_manual_page() {
        let directory = tempfile::tempdir().unwrap();
        write_manual(&ManArgs { directory: directory.path().to_owned() }).unwrap();
        for page in ["holm.1", "holm-ps.1", "holm-container-ls.1", "holm-machine-reset.1"] {
            assert!(directory.path().join(page).exists(), "{page}");
        }
    }
}
