//! `volume ls`: lists volumes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::order::natural;
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::units;
use crate::cli::session::{self, Session};

/// `holm volume ls`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Display only cluster volumes, and use cluster volume list formatting
    #[arg(long, hide = true)]
    cluster: bool,
    /// Provide filter values (e.g. "dangling=true")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Only display volume names
    #[arg(short, long)]
    quiet: bool,
}

/// What a list of volumes can show.
pub(crate) const COLUMNS: [Column; 10] = [
    ("Name", "VOLUME NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("Mountpoint", "MOUNTPOINT"),
    ("Labels", "LABELS"),
    ("Links", "LINKS"),
    ("Size", "SIZE"),
    ("Availability", "AVAILABILITY"),
    ("Group", "GROUP"),
    ("Status", "STATUS"),
];
const TABLE: &str = "table {{.Driver}}\t{{.Name}}";
const RAW: &str = "name: {{.Name}}\ndriver: {{.Driver}}\n";
const NOT_KNOWN: &str = "N/A";

/// A volume as the daemon lists it.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Volume {
    pub(crate) name: String,
    driver: String,
    mountpoint: String,
    scope: String,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) usage_data: Option<Usage>,
}

/// How much a volume is used, where the daemon was asked to find out. -1 is not known.
#[derive(Clone, Copy, Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Usage {
    pub(crate) size: i64,
    pub(crate) ref_count: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct List {
    volumes: Option<Vec<Volume>>,
}

/// Asks the daemon and prints the list.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let usual = if args.quiet { "" } else { session.settings.volumes_format.as_str() };
    let wanted = if args.format.is_empty() { usual } else { &args.format };
    let format = match wanted {
        "" | "table" | "raw" if args.quiet => Format::parse("{{.Name}}", ""),
        "raw" => Format::parse(RAW, ""),
        format => Format::parse(format, TABLE),
    };
    let format = format.map_err(template_error)?;
    let mut volumes = if args.cluster {
        // Cluster volumes belong to a swarm, which this engine is in none of.
        Vec::new()
    } else {
        let call = Call::get("/volumes").option("filters", filter::parameter(&args.filter));
        session.client.send(call).await?.json::<List>().await?.volumes.unwrap_or_default()
    };
    volumes.sort_by(|a, b| natural(&a.name, &b.name));
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

/// A line of the list.
pub(crate) fn row(volume: &Volume) -> Row {
    let labels = volume.labels.clone().unwrap_or_default();
    let joined: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let usage = |shown: fn(Usage) -> String| volume.usage_data.map_or(NOT_KNOWN.to_owned(), shown);
    Row::default()
        .with("Name", volume.name.as_str())
        .with("Driver", volume.driver.as_str())
        .with("Scope", volume.scope.as_str())
        .with("Mountpoint", volume.mountpoint.as_str())
        .with("Labels", joined.join(","))
        .with("Links", usage(|usage| usage.ref_count.to_string()))
        .with("Size", usage(|usage| units::precise_size(usage.size)))
        .with("Availability", NOT_KNOWN)
        .with("Group", NOT_KNOWN)
        .with("Status", NOT_KNOWN)
        .labelled(labels)
}
