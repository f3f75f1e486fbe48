//! `context`: named daemons, in the store that Docker's command line and Compose read too.

mod archive;
mod create;
mod inspect;
mod list;
pub(crate) mod store;

use super::arguments::Caller;
use super::error::CliError;
use super::session;
use store::{DEFAULT, Store};

/// `holm context …`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Create a context
    #[command(long_about = create::ABOUT)]
    Create(create::Args),
    /// Export a context to a tar archive FILE or a tar stream on STDOUT.
    #[command(about = archive::EXPORT_ABOUT)]
    Export(archive::ExportArgs),
    /// Import a context from a tar or zip file
    Import(archive::ImportArgs),
    /// Display detailed information on one or more contexts
    Inspect(inspect::Args),
    /// List contexts
    #[command(alias = "list")]
    Ls(list::Args),
    /// Remove one or more contexts
    #[command(alias = "remove")]
    Rm(RemoveArgs),
    /// Print the name of the current context
    Show,
    /// Update a context
    #[command(long_about = create::UPDATE_ABOUT)]
    Update(create::UpdateArgs),
    /// Set the current docker context
    Use(UseArgs),
}

/// `holm context rm`
#[derive(Debug, clap::Args)]
pub(crate) struct RemoveArgs {
    /// Force the removal of a context in use
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "CONTEXT")]
    contexts: Vec<String>,
}

/// `holm context use`
#[derive(Debug, clap::Args)]
pub(crate) struct UseArgs {
    #[arg(required = true, value_name = "CONTEXT")]
    context: String,
}

/// Does what was asked for. None of it needs a daemon.
pub(crate) fn run(command: Command, caller: &Caller<'_>) -> Result<(), CliError> {
    match command {
        Command::Create(args) => create::run(&args, caller),
        Command::Export(args) => archive::export(&args, caller),
        Command::Import(args) => archive::import(&args, caller),
        Command::Inspect(args) => inspect::run(&args, caller),
        Command::Ls(args) => list::run(&args, caller),
        Command::Rm(args) => remove(&args, caller),
        Command::Show => session::print_line(&caller.context()),
        Command::Update(args) => create::update(&args, caller),
        Command::Use(args) => choose(&args.context, caller),
    }
}

fn choose(name: &str, caller: &Caller<'_>) -> Result<(), CliError> {
    if name != DEFAULT {
        Store::of(&caller.config).read(name)?;
    }
    caller.config.set_current_context(Some(name).filter(|name| *name != DEFAULT))?;
    session::print_line(name)?;
    session::warn(&format!("Current context is now {name:?}"));
    if let Some(variable) = caller.overriding_variable() {
        session::warn(&format!(
            "Warning: {variable} environment variable overrides the active context. To use {name:?}, either set the global --context flag, or unset {variable} environment variable."
        ));
    } else if let Some(note) = caller.keeps_to_itself() {
        session::warn(note);
    }
    Ok(())
}

fn remove(args: &RemoveArgs, caller: &Caller<'_>) -> Result<(), CliError> {
    let store = Store::of(&caller.config);
    let current = caller.config.current_context();
    let mut errors = Vec::new();
    for name in &args.contexts {
        let in_use = current.as_ref() == Some(name);
        let complaint = match name.as_str() {
            DEFAULT => Some(format!("context {name:?} cannot be removed")),
            _ if !args.force && !store.has(name) => Some(format!("context {name:?} does not exist")),
            _ if !args.force && in_use => {
                Some(format!("context {name:?} is in use, set -f flag to force remove"))
            }
            _ => None,
        };
        let removed = match complaint {
            Some(complaint) => Err(CliError::said(complaint)),
            None if in_use => caller.config.set_current_context(None).and_then(|()| store.remove(name)),
            None => store.remove(name),
        };
        match removed {
            Ok(()) => session::print_line(name)?,
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}
