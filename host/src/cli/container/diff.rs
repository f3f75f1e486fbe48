//! `diff`: what a container has changed in its image's files.

use serde::Deserialize;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm diff`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change {
    path: String,
    kind: u8,
}

/// Prints a line for each path: changed, added or deleted.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::get(container_path(&args.container, "/changes")?);
    let changes: Option<Vec<Change>> = session.client.send(call).await?.json().await?;
    session::print(&render(&changes.unwrap_or_default()))
}

fn render(changes: &[Change]) -> String {
    let letter = |kind| match kind {
        0 => "C",
        1 => "A",
        2 => "D",
        // A kind that a newer engine knows.
        _ => "?",
    };
    changes.iter().map(|change| format!("{} {}\n", letter(change.kind), change.path)).collect()
}
