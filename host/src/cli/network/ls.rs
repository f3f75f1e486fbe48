//! `network ls`: lists networks.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::order::natural;
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table::short_id;
use crate::cli::output::time;
use crate::cli::session::{self, Session};

/// `holm network ls`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Provide filter values (e.g. "driver=bridge")
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Do not truncate the output
    #[arg(long)]
    no_trunc: bool,
    /// Only display network IDs
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: [Column; 9] = [
    ("ID", "NETWORK ID"),
    ("Name", "NAME"),
    ("Driver", "DRIVER"),
    ("Scope", "SCOPE"),
    ("IPv4", "IPV4"),
    ("IPv6", "IPV6"),
    ("Internal", "INTERNAL"),
    ("Labels", "LABELS"),
    ("CreatedAt", "CREATED AT"),
];
const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}";
const RAW: &str = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n";

/// A network as the daemon lists it.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Network {
    id: String,
    name: String,
    driver: String,
    scope: String,
    created: String,
    #[serde(rename = "EnableIPv4")]
    ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    ipv6: bool,
    internal: bool,
    labels: Option<BTreeMap<String, String>>,
}

/// Asks the daemon and prints the list.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let usual = if args.quiet { "" } else { session.settings.networks_format.as_str() };
    let wanted = if args.format.is_empty() { usual } else { &args.format };
    let format = match wanted {
        "raw" if args.quiet => Format::parse("network_id: {{.ID}}", ""),
        "" | "table" if args.quiet => Format::parse("{{.ID}}", ""),
        "raw" => Format::parse(RAW, ""),
        format => Format::parse(format, TABLE),
    };
    let format = format.map_err(template_error)?;
    let call = Call::get("/networks").option("filters", filter::parameter(&args.filter));
    let mut networks: Vec<Network> = session.client.send(call).await?.json().await?;
    networks.sort_by(|a, b| natural(&a.name, &b.name));
    let rows: Vec<Row> = networks.iter().map(|network| row(network, !args.no_trunc)).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

fn row(network: &Network, truncated: bool) -> Row {
    let labels = network.labels.clone().unwrap_or_default();
    let joined: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Row::default()
        .with("ID", if truncated { short_id(&network.id) } else { &network.id })
        .with("Name", network.name.as_str())
        .with("Driver", network.driver.as_str())
        .with("Scope", network.scope.as_str())
        .with("IPv4", network.ipv4.to_string())
        .with("IPv6", network.ipv6.to_string())
        .with("Internal", network.internal.to_string())
        .with("Labels", joined.join(","))
        .with("CreatedAt", time::go_time(&network.created))
        .labelled(labels)
}
