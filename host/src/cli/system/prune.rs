//! `system prune`: removes all that is not used.

use crate::cli::error::CliError;
use crate::cli::filter::Filter;
use crate::cli::image::prune::dangling;
use crate::cli::prompt::confirm;
use crate::cli::prune::{Kind, prune, total};
use crate::cli::session::{self, Session};

/// `holm system prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Remove all unused images not just dangling ones
    #[arg(short, long)]
    all: bool,
    /// Provide filter values (e.g. "label=<key>=<value>")
    #[arg(long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Do not prompt for confirmation
    #[arg(short, long)]
    force: bool,
    /// Prune anonymous volumes
    #[arg(long)]
    volumes: bool,
}

/// Asks, removes one kind after the other, tells.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if args.volumes && args.filter.iter().any(|filter| filter.is_about("until")) {
        return Err(CliError::said("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    if !args.force && !confirm(&args.question())? {
        return Ok(());
    }
    let mut space = 0u64;
    for kind in [Kind::Containers, Kind::Networks, Kind::Volumes, Kind::Images, Kind::BuildCache] {
        let pruned = match kind {
            Kind::Volumes if !args.volumes => continue,
            Kind::Images => prune(session, kind, &dangling(&args.filter, !args.all), false).await?,
            Kind::BuildCache => prune(session, kind, &args.filter, args.all).await?,
            kind => prune(session, kind, &args.filter, false).await?,
        };
        space = space.saturating_add(pruned.space);
        if !pruned.list.is_empty() {
            session::print_line(&pruned.list)?;
        }
    }
    session::print_line(&total(space))
}

impl Args {
    fn question(&self) -> String {
        let mut losses = vec!["all stopped containers", "all networks not used by at least one container"];
        if self.volumes {
            losses.push("all anonymous volumes not used by at least one container");
        }
        losses.extend(match self.all {
            true => ["all images without at least one container associated to them", "all build cache"],
            false => ["all dangling images", "unused build cache"],
        });
        let mut text = String::from("WARNING! This will remove:\n");
        text.extend(losses.iter().map(|loss| format!("  - {loss}\n")));
        if !self.filter.is_empty() {
            let mut filters: Vec<String> = self.filter.iter().map(ToString::to_string).collect();
            filters.sort();
            text.push_str("\n  Items to be pruned will be filtered with:\n");
            text.extend(filters.iter().map(|filter| format!("  - {filter}\n")));
        }
        text.push_str("\nAre you sure you want to continue?");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_all_that_would_be_lost() {
        let filter = vec!["until=1h".parse().unwrap(), "label=a".parse().unwrap()];
        let args = Args { all: true, filter, force: false, volumes: true };
        assert_eq!(
            args.question(),
            "WARNING! This will remove:\n  - all stopped containers\n  \
             - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  \
             - all images without at least one container associated to them\n  - all build cache\n\n  \
             Items to be pruned will be filtered with:\n  - label=a\n  - until=1h\n\n\
             Are you sure you want to continue?"
        );
    }
}
