//! `wait`, and waiting for a container's end beside other work.

use serde::Deserialize;

use super::container_path;
use crate::cli::client::{Call, Client, Reply};
use crate::cli::error::{CliError, DAEMON_FAILED};
use crate::cli::session::{self, Session};

/// `holm wait`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Waits for one container after the other and prints their statuses.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut errors = Vec::new();
    for container in &args.containers {
        let status = async {
            let call = Call::post(container_path(container, "/wait")?);
            session.client.send(call).await?.json::<Status>().await
        };
        match status.await {
            Ok(status) => session::print_line(&status.status_code.to_string())?,
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    status_code: i64,
    #[serde(default)]
    error: Option<WaitError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WaitError {
    #[serde(default)]
    message: String,
}

/// What end is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// That of the run which goes on now.
    NotRunning,
    /// That of the run which is about to start.
    NextExit,
    /// That the container is gone, too.
    Removed,
}

/// A container's end that the engine is watching for.
pub(super) struct Ending<'a>(Reply<'a>);

impl<'a> Ending<'a> {
    /// Returns once the engine watches: an end after this is not missed.
    pub(super) async fn watch(
        client: &'a Client,
        container: &str,
        condition: Condition,
    ) -> Result<Self, CliError> {
        let condition = match condition {
            Condition::NotRunning => "not-running",
            Condition::NextExit => "next-exit",
            Condition::Removed => "removed",
        };
        let call = Call::post(format!("/containers/{container}/wait")).query("condition", condition);
        Ok(Self(client.send(call).await?))
    }

    /// Waits for it. The container's status as a process's, which has 8 bits.
    pub(super) async fn status(self) -> Result<u8, CliError> {
        let status: Status = self.0.json().await?;
        match status.error {
            Some(error) if !error.message.is_empty() => Err(CliError::Said {
                text: format!("Error waiting for container: {}", error.message),
                code: DAEMON_FAILED,
            }),
            _ => Ok((status.status_code & 0xff) as u8),
        }
    }
}
