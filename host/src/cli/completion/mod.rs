//! Completion and manual pages, made from the definitions that parse the flags.
//!
//! ```text
//!   a shell's script ─► holm __complete WORDS… ─► candidates ─► a command, a flag, a fixed value
//!                                                     └─► names ─► asked of the engine, if it runs
//! ```

mod candidates;
mod names;

use std::path::PathBuf;

use clap_complete::Shell;

use super::arguments::Caller;
use super::environment::Program;
use super::error::CliError;
use super::{session, usage};
use candidates::{Candidates, Wanted};

/// `holm completion`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum, value_name = "bash|zsh|fish|powershell")]
    shell: Shell,
}

/// `holm __complete`
#[derive(Debug, clap::Args)]
pub(crate) struct CompleteArgs {
    #[arg(value_name = "WORD", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// `holm generate-man`
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// An existing folder
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Prints the script that teaches a shell to ask us.
pub(crate) fn print_script(args: &Args, program: Program) -> Result<(), CliError> {
    session::print(&script(args.shell, program)?)
}

fn script(shell: Shell, program: Program) -> Result<String, CliError> {
    let script = match shell {
        Shell::Bash => include_str!("scripts/bash"),
        Shell::Zsh => include_str!("scripts/zsh"),
        Shell::Fish => include_str!("scripts/fish"),
        Shell::PowerShell => include_str!("scripts/powershell"),
        other => return Err(CliError::said(format!("there is no completion for {other}"))),
    };
    Ok(script.replace("PROGRAM", program.command()))
}

/// Prints what the last of the words may become, a line each, and how the shell is to take it: the protocol of
/// Docker's own `__complete`.
pub(crate) fn complete(args: &CompleteArgs, caller: &Caller<'_>) -> Result<(), CliError> {
    let mut root = usage::commands(caller.program);
    root.build();
    let Candidates { typed, before, wanted } = candidates::candidates(&root, &args.words);
    let (lines, directive) = match wanted {
        Wanted::Lines(lines) => (lines, candidates::NO_FILES),
        Wanted::Files => (Vec::new(), 0),
        Wanted::Names(kind, directive) => {
            // A machine is not booted for a tabulator.
            let names = caller.with_session(async |session| Ok(names::of(kind, session, caller).await));
            (names.unwrap_or_default(), directive)
        }
    };
    let fitting = lines.iter().filter(|line| line.starts_with(typed));
    let fitting = fitting.filter(|line| !before.contains(&line.as_str()));
    let text: String = fitting.map(|line| format!("{line}\n")).collect();
    session::print(&format!("{text}:{directive}\n"))
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
    fn every_shell_gets_a_script_that_asks_us() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let script = script(shell, Program::Holm).unwrap();
            assert!(script.contains("holm __complete") && !script.contains("PROGRAM"), "{shell}");
        }
        assert!(script(Shell::Elvish, Program::Holm).is_err());
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
