//! `rm`: removes containers.

use super::{container_path, each};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm rm`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force the removal of a running container (uses SIGKILL)
    #[arg(short, long)]
    force: bool,
    /// Remove the specified link
    #[arg(short, long)]
    link: bool,
    /// Remove anonymous volumes associated with the container
    #[arg(short, long)]
    volumes: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Removes containers. With `--force`, one that is not there is only mentioned.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut errors = Vec::new();
    let results = each(&args.containers, async |container| {
        let name = container.trim_matches('/');
        if name.is_empty() {
            return Err(CliError::said("container name cannot be empty"));
        }
        let call = Call::delete(container_path(name, "")?)
            .flag("v", args.volumes)
            .flag("link", args.link)
            .flag("force", args.force);
        session.client.send(call).await.map(drop)
    })
    .await;
    for (container, result) in args.containers.iter().zip(results) {
        match result {
            Ok(()) => session::print_line(container)?,
            Err(error) if args.force && error.is_not_found() => session::warn(&error.to_string()),
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}
