//! `pause` and `unpause`: containers whose processes get no time for a while.

use super::{container_path, on_each};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// `holm pause`, `holm unpause`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Stops the clock of all of them.
pub(crate) async fn pause(args: Args, session: &Session) -> Result<(), CliError> {
    post(&args.containers, "/pause", session).await
}

/// Lets all of them go on.
pub(crate) async fn unpause(args: Args, session: &Session) -> Result<(), CliError> {
    post(&args.containers, "/unpause", session).await
}

async fn post(containers: &[String], action: &str, session: &Session) -> Result<(), CliError> {
    on_each(containers, async |container| {
        session.client.send(Call::post(container_path(container, action)?)).await.map(drop)
    })
    .await
}
