//! `container prune`: removes containers that do not run.

use crate::cli::error::CliError;
use crate::cli::filter::Filter;
use crate::cli::prune::{self, Kind};
use crate::cli::session::Session;

/// `holm container prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Asks, removes, tells.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let question = (!args.force).then_some("This will remove all stopped containers.");
    prune::command(session, Kind::Containers, &args.filter, question).await
}
