//! `stop`, `restart` and `kill`: signals to containers, several at once.

use super::{container_path, on_each};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::options::integer;
use crate::cli::session::{self, Session};

/// `holm stop`, `holm restart`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "")]
    signal: String,
    /// Seconds to wait before killing the container
    #[arg(short, long, value_name = "int", value_parser = integer)]
    timeout: Option<i64>,
    /// Seconds to wait before killing the container (deprecated: use --timeout)
    #[arg(long, value_name = "int", value_parser = integer, hide = true)]
    time: Option<i64>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// `holm kill`
#[derive(Debug, clap::Args)]
pub(crate) struct KillArgs {
    /// Signal to send to the container
    #[arg(short, long, value_name = "string", default_value = "")]
    signal: String,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Stops containers side by side: their timeouts do not add up.
pub(crate) async fn stop(args: Args, session: &Session) -> Result<(), CliError> {
    let timeout = args.timeout()?;
    on_each(&args.containers, async |container| {
        let call = request(container, "/stop", &args.signal, timeout)?;
        session.client.send(call).await.map(drop)
    })
    .await
}

/// Restarts containers one after the other, as Docker does.
pub(crate) async fn restart(args: Args, session: &Session) -> Result<(), CliError> {
    let timeout = args.timeout()?;
    let mut errors = Vec::new();
    for container in &args.containers {
        let restarted =
            async { session.client.send(request(container, "/restart", &args.signal, timeout)?).await };
        match restarted.await {
            Ok(_) => session::print_line(container)?,
            Err(error) => errors.push(error),
        }
    }
    CliError::all(errors)
}

/// Sends a signal, SIGKILL unless another is named.
pub(crate) async fn kill(args: KillArgs, session: &Session) -> Result<(), CliError> {
    on_each(&args.containers, async |container| {
        session.client.send(request(container, "/kill", &args.signal, None)?).await.map(drop)
    })
    .await
}

impl Args {
    fn timeout(&self) -> Result<Option<i64>, CliError> {
        match (self.timeout, self.time) {
            (Some(_), Some(_)) => {
                Err(CliError::said("conflicting options: cannot specify both --timeout and --time"))
            }
            (None, Some(time)) => {
                session::warn("Flag --time has been deprecated, use --timeout instead");
                Ok(Some(time))
            }
            (timeout, None) => Ok(timeout),
        }
    }
}

fn request(container: &str, action: &str, signal: &str, timeout: Option<i64>) -> Result<Call, CliError> {
    Ok(Call::post(container_path(container, action)?)
        .option("signal", Some(signal).filter(|signal| !signal.is_empty()))
        .option("t", timeout.map(|seconds| seconds.to_string())))
}
