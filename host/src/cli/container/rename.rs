//! `rename`: another name for a container.

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// `holm rename`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(required = true, value_name = "NEW_NAME")]
    name: String,
}

/// Renames it. A failure is told twice, as Docker does: the engine's words, and which container it was.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let (old, new) = (args.container.trim(), args.name.trim());
    if old.is_empty() || new.is_empty() {
        return Err(CliError::said("Error: Neither old nor new names may be empty"));
    }
    let call = Call::post(container_path(old, "/rename")?).query("name", new);
    match session.client.send(call).await {
        Ok(_) => Ok(()),
        Err(error) => Err(CliError::Several(vec![
            error,
            CliError::said(format!("Error: failed to rename container named {old}")),
        ])),
    }
}
