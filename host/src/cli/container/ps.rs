//! `ps`, `container ls`: lists containers.

use std::collections::BTreeMap;

use holm_api::Reference;
use serde::Deserialize;
use serde_json::Value;

use super::ports::{self, Port};
use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::options::integer;
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table::{ellipsis, short_id};
use crate::cli::output::{time, units};
use crate::cli::session::{self, Session};

/// `holm ps`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show all containers (default shows just running)
    #[arg(short, long)]
    all: bool,
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Show n last created containers (includes all states)
    #[arg(short = 'n', long, value_name = "int", default_value = "-1", value_parser = integer)]
    last: i64,
    /// Show the latest created container (includes all states)
    #[arg(short, long)]
    latest: bool,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    /// Only display container IDs
    #[arg(short, long)]
    quiet: bool,
    /// Display total file sizes
    #[arg(short, long)]
    size: bool,
}

/// What a list of containers can show.
pub(crate) const COLUMNS: [Column; 15] = [
    ("ID", "CONTAINER ID"),
    ("Names", "NAMES"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
];
const TABLE: &str =
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const RAW: &str =
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\nlabels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}\n";
/// Columns of a command line that is not shown whole.
const COMMAND_WIDTH: usize = 20;
/// Columns of a mount that is not shown whole.
const MOUNT_WIDTH: usize = 15;

/// A container as the daemon lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
pub(crate) struct Container {
    id: String,
    names: Option<Vec<String>>,
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Option<Vec<Port>>,
    pub(crate) size_rw: i64,
    size_root_fs: i64,
    labels: Option<BTreeMap<String, String>>,
    pub(crate) state: String,
    status: String,
    network_settings: NetworkSettings,
    mounts: Option<Vec<Mount>>,
    image_manifest_descriptor: Value,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

/// Asks the daemon and prints the list.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if args.quiet && !args.format.is_empty() {
        session::warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let format = format(&args, &session.settings.ps_format).map_err(template_error)?;
    // Sizes cost the daemon a walk over all files, so they are only asked for where they are shown.
    let size = args.size || format.mentions("Size");
    let limit = if args.latest && args.last == -1 { 1 } else { args.last };
    let call = Call::get("/containers/json")
        .flag("all", args.all)
        .option("limit", (limit > 0).then(|| limit.to_string()))
        .flag("size", size)
        .option("filters", filter::parameter(&args.filter));
    let containers: Vec<Container> = session.client.send(call).await?.json().await?;
    let now = time::now();
    let rows: Vec<Row> = containers.iter().map(|container| row(container, !args.no_trunc, now)).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

fn format(args: &Args, usual: &str) -> Result<Format, crate::cli::template::TemplateError> {
    let with_size = |base: &str, size: &str| {
        if args.size { format!("{base}{size}") } else { base.to_owned() }
    };
    let wanted = if args.format.is_empty() { usual } else { &args.format };
    match wanted {
        "raw" if args.quiet => Format::parse("container_id: {{.ID}}", ""),
        _ if args.quiet => Format::parse("{{.ID}}", ""),
        "raw" => Format::parse(&with_size(RAW, "size: {{.Size}}\\n"), ""),
        format => Format::parse(format, &with_size(TABLE, "\t{{.Size}}")),
    }
}

/// A line of the list.
pub(crate) fn row(container: &Container, truncated: bool, now: i64) -> Row {
    let labels = container.labels.clone().unwrap_or_default();
    let joined: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mounts = container.mounts.as_deref().unwrap_or_default();
    let networks = container.network_settings.networks.iter().flat_map(BTreeMap::keys);
    Row::default()
        .with("ID", if truncated { short_id(&container.id) } else { &container.id })
        .with("Names", names(container, truncated))
        .with("Image", image(container, truncated))
        .with("Command", command(&container.command, truncated))
        .with("CreatedAt", time::go_form(container.created))
        .with("RunningFor", time::ago(container.created, now))
        .with("Ports", ports::show(container.ports.as_deref().unwrap_or_default()))
        .with("State", container.state.as_str())
        .with("Status", container.status.as_str())
        .with("Size", size(container))
        .with("Labels", joined.join(","))
        .with("Mounts", mounts.iter().map(|mount| mount_name(mount, truncated)).collect::<Vec<_>>().join(","))
        .with("LocalVolumes", mounts.iter().filter(|mount| mount.driver == "local").count().to_string())
        .with("Networks", networks.map(String::as_str).collect::<Vec<_>>().join(","))
        .with("Platform", container.image_manifest_descriptor.get("platform").cloned().unwrap_or_default())
        .labelled(labels)
}

/// Without its leading slash. Names that other containers gave it by `--link` have a second one.
fn names(container: &Container, truncated: bool) -> String {
    let names = container.names.as_deref().unwrap_or_default();
    let names: Vec<&str> = names.iter().map(|name| name.strip_prefix('/').unwrap_or(name)).collect();
    match names.iter().find(|name| !name.contains('/')) {
        Some(own) if truncated => (*own).to_owned(),
        _ => names.join(","),
    }
}

fn image(container: &Container, truncated: bool) -> String {
    if container.image.is_empty() {
        return "<no image>".to_owned();
    }
    if !truncated {
        return container.image.clone();
    }
    let short = short_id(&container.image_id);
    if short == short_id(&container.image) {
        return short.to_owned();
    }
    // A digest beside the name is left out, and so is the registry that is meant anyway.
    match container.image.parse::<Reference>() {
        Ok(reference) => match reference.tag() {
            Some(tag) => format!("{}:{tag}", reference.familiar_name()),
            None => reference.familiar_name(),
        },
        Err(_) => container.image.clone(),
    }
}

/// In Go's quotes.
fn command(command: &str, truncated: bool) -> String {
    let shown = if truncated { ellipsis(command, COMMAND_WIDTH) } else { command.to_owned() };
    quoted(&shown)
}

/// As Go's `strconv.Quote` does it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\x0b' => quoted.push_str("\\v"),
            control if control.is_ascii_control() => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(control)))
            }
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn size(container: &Container) -> String {
    let own = units::size(container.size_rw);
    if container.size_root_fs > 0 {
        format!("{own} (virtual {})", units::size(container.size_root_fs))
    } else {
        own
    }
}

fn mount_name(mount: &Mount, truncated: bool) -> String {
    let name = if mount.name.is_empty() { &mount.source } else { &mount.name };
    if truncated { ellipsis(name, MOUNT_WIDTH) } else { name.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(json: Value) -> Container {
        serde_json::from_value(json).unwrap()
    }

    fn table(json: Value) -> String {
        let row = row(&container(json), true, 1_000_100);
        Format::parse("", TABLE).unwrap().render(&COLUMNS, &[row]).unwrap()
    }

    #[test]
    fn the_table_is_dockers() {
        let json = serde_json::json!({
            "Id": "285852c64282aaaaaaaaaaaaaaaaaaaa", "Names": ["/other/alias", "/t1"], "Image": "busybox",
            "ImageID": "sha256:ffbf47aa4d5dbf5c", "Command": "sh -c 'echo out; echo err >&2; exit 3'",
            "Created": 1_000_099, "Ports": [], "State": "exited", "Status": "Exited (3) Less than a second ago",
        });
        assert_eq!(
            table(json),
            "CONTAINER ID   IMAGE     COMMAND                  CREATED        STATUS                              PORTS     NAMES\n\
             285852c64282   busybox   \"sh -c 'echo out; ec…\"   1 second ago   Exited (3) Less than a second ago             t1\n"
        );
    }

    #[test]
    fn an_image_is_shown_by_name_and_tag_or_by_the_start_of_its_id() {
        let shown = |text: &str| {
            image(&container(serde_json::json!({"Image": text, "ImageID": "sha256:0123456789abcdef"})), true)
        };
        assert_eq!(shown("docker.io/library/alpine:3"), "alpine:3");
        assert_eq!(shown(&format!("alpine:3@sha256:{}", "ab".repeat(32))), "alpine:3");
        assert_eq!(shown(&format!("alpine@sha256:{}", "ab".repeat(32))), "alpine");
        assert_eq!(shown("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(shown(""), "<no image>");
    }

    #[test]
    fn a_command_is_quoted_as_go_quotes() {
        assert_eq!(quoted("a\"b\\c\n\u{1}é"), "\"a\\\"b\\\\c\\n\\x01é\"");
    }

    #[test]
    fn names_from_links_are_left_out_of_the_short_form() {
        let container = container(serde_json::json!({"Names": ["/web/db", "/db"]}));
        assert_eq!(names(&container, true), "db");
        assert_eq!(names(&container, false), "web/db,db");
    }
}
