//! `volume rm`: removes volumes that no container has.

use super::volume_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// What its help says.
pub(crate) const ABOUT: &str =
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.";

/// `holm volume rm`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force the removal of one or more volumes
    #[arg(short, long)]
    force: bool,
    #[arg(required = true, value_name = "VOLUME")]
    volumes: Vec<String>,
}

/// Removes one after the other and prints the names of those that went.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut errors = Vec::new();
    for volume in &args.volumes {
        let call = Call::delete(volume_path(volume)).flag("force", args.force);
        match session.client.send(call).await {
            Ok(_) => session::print_line(volume)?,
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}
