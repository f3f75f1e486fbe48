//! `volume prune`: removes volumes that no container has.

use crate::cli::error::CliError;
use crate::cli::filter::Filter;
use crate::cli::prune::{self, Kind};
use crate::cli::session::Session;

/// `holm volume prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all unused volumes, not just anonymous ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<label>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
}

/// Asks, removes, tells.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut filters = args.filter;
    if args.all && filters.iter().any(|filter| filter.is_about("all")) {
        return Err(CliError::said("conflicting options: cannot specify both --all and --filter all=1"));
    }
    let question = match args.all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if args.all {
        filters.push(Filter::new("all", "true"));
    }
    prune::command(session, Kind::Volumes, &filters, (!args.force).then_some(question)).await
}
