//! `image prune`: removes images without a name, or all that no container uses.

use crate::cli::error::CliError;
use crate::cli::filter::Filter;
use crate::cli::prune::{self, Kind};
use crate::cli::session::Session;

/// `holm image prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images, not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "until=<timestamp>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Asks, removes, tells.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let question = match args.all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    let filters = dangling(&args.filter, !args.all);
    prune::command(session, Kind::Images, &filters, (!args.force).then_some(question)).await
}

/// The filters, and whether only images without a name are meant.
pub(crate) fn dangling(filters: &[Filter], only: bool) -> Vec<Filter> {
    let mut filters = filters.to_vec();
    filters.push(Filter::new("dangling", if only { "true" } else { "false" }));
    filters
}
