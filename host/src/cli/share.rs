//! `holm share list`: what of this computer containers have mounted, and how often the machine had to ask.

use super::arguments::TABLE_FORMAT_HELP;
use super::environment::{Daemon, SharedPath};
use super::error::CliError;
use super::output::rows::{Column, Format, Row, template_error};
use super::output::table::short_id;
use super::output::units;
use super::session;

/// The group's commands.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the folders, files and sockets of this computer that containers have mounted
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

/// `holm share list`
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
}

const COLUMNS: [Column; 11] = [
    ("Path", "PATH"),
    ("Kind", "KIND"),
    ("Mode", "MODE"),
    ("Containers", "CONTAINERS"),
    ("Known", "KNOWN"),
    ("Open", "OPEN"),
    ("Requests", "REQUESTS"),
    ("CacheHits", "CACHED"),
    ("Changes", "CHANGES"),
    ("Read", "READ"),
    ("Written", "WRITTEN"),
];
const TABLE: &str = "table {{.Path}}\t{{.Kind}}\t{{.Mode}}\t{{.Containers}}\t{{.Known}}\t{{.Open}}\t{{.Requests}}\t\
                     {{.CacheHits}}\t{{.Changes}}\t{{.Read}}\t{{.Written}}";

/// Asks the daemon and prints the list.
pub(crate) fn run(command: &Command, daemon: &Daemon) -> Result<(), CliError> {
    let Command::List(args) = command;
    let format = Format::parse(&args.format, TABLE).map_err(template_error)?;
    let shares = (daemon.shares)().map_err(CliError::Daemon)?;
    let rows: Vec<Row> = shares.iter().map(|share| row(share, !args.no_trunc)).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

fn row(share: &SharedPath, truncated: bool) -> Row {
    let id = |id: &String| if truncated { short_id(id).to_owned() } else { id.clone() };
    let containers: Vec<_> = share.containers.iter().map(id).collect();
    Row::default()
        .with("Path", share.path.as_str())
        .with("Kind", share.kind.as_str())
        .with("Mode", if share.read_only { "ro" } else { "rw" })
        .with("Containers", containers.join(","))
        .with("Known", share.nodes.to_string())
        .with("Open", share.open.to_string())
        .with("Requests", share.requests.to_string())
        .with("CacheHits", percent(share.kept, share.questions))
        .with("Changes", share.invalidations.to_string())
        .with("Read", size(share.read))
        .with("Written", size(share.written))
}

fn size(bytes: u64) -> String {
    units::size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Of the answers about names and attributes, those that the machine may keep until something changes.
fn percent(part: u64, of: u64) -> String {
    match u128::from(part) * 100 / u128::from(of.max(1)) {
        _ if of == 0 => "-".to_owned(),
        percent => format!("{}%", percent.min(100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_answers_are_told_in_percent() {
        assert_eq!((percent(0, 0), percent(1, 3), percent(4, 3)), ("-".into(), "33%".into(), "100%".into()));
    }

    #[test]
    fn a_share_is_a_row_with_its_containers_by_short_ids() {
        let share = SharedPath {
            path: "/home/me/app".to_owned(),
            kind: "folder".to_owned(),
            read_only: true,
            containers: vec!["0123456789abcdef".repeat(4), "f".repeat(64)],
            questions: 10,
            kept: 9,
            read: 1_500,
            ..SharedPath::default()
        };
        let format =
            Format::parse("{{.Path}} {{.Mode}} {{.Containers}} {{.CacheHits}} {{.Read}}", TABLE).unwrap();
        let line = format.render(&COLUMNS, &[row(&share, true)]).unwrap();
        assert_eq!(line.trim_end(), "/home/me/app ro 0123456789ab,ffffffffffff 90% 1.5kB");
    }
}
