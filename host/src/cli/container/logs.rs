//! `logs`: what a container has written.

use jiff::Timestamp;
use serde_json::Value;

use super::container_path;
use crate::cli::attach;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::time;
use crate::cli::session::Session;

/// `holm logs`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show extra details provided to logs
    #[arg(long)]
    details: bool,
    /// Follow log output
    #[arg(short, long)]
    follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "")]
    since: String,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, value_name = "string", default_value = "all")]
    tail: String,
    /// Show timestamps
    #[arg(short, long)]
    timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long, value_name = "string", default_value = "")]
    until: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

/// Prints the log, each stream to ours.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let path = container_path(&args.container, "/json")?;
    let inspected: Value = session.client.send(Call::get(path)).await?.json().await?;
    let id = inspected["Id"].as_str().unwrap_or(&args.container);
    let now = i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let point = |flag, text: &str| match text {
        "" => Ok(None),
        text => time::timestamp(flag, text, now).map(Some).map_err(|error| CliError::said(error.to_string())),
    };
    let call = Call::get(format!("/containers/{id}/logs"))
        .query("stdout", "1")
        .query("stderr", "1")
        .option("since", point("since", &args.since)?)
        .option("until", point("until", &args.until)?)
        .flag("timestamps", args.timestamps)
        .flag("details", args.details)
        .flag("follow", args.follow)
        .query("tail", &args.tail);
    let reader = session.client.send(call).await?.reader();
    attach::print(reader, inspected["Config"]["Tty"].as_bool().unwrap_or(false)).await
}
