//! `network prune`: removes networks without containers.

use crate::cli::error::CliError;
use crate::cli::filter::Filter;
use crate::cli::prune::{self, Kind};
use crate::cli::session::Session;

/// `holm network prune`
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
    let question = "This will remove all custom networks not used by at least one container.";
    prune::command(session, Kind::Networks, &args.filter, (!args.force).then_some(question)).await
}
