//! `system df`: how much room images, containers and volumes take, and how much of it could be free.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::arguments::TABLE_FORMAT_HELP;
use crate::cli::client::Call;
use crate::cli::container::ps::{self, Container};
use crate::cli::error::CliError;
use crate::cli::image::images::{self, Image};
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::{time, units};
use crate::cli::session::{self, Session};
use crate::cli::template::{Mode, Template};
use crate::cli::volume::ls::{self as volumes, Volume};

/// `holm system df`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const COLUMNS: [Column; 5] = [
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const TABLE: &str = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
const RAW: &str = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}
reclaimable: {{.Reclaimable}}\n";

const RAW_DETAILS: &str = "{{range .Images}}type: Image
repository: {{.Repository}}
tag: {{.Tag}}
digest: {{.Digest}}
image_id: {{.ID}}
created_at: {{.CreatedAt}}
virtual_size: {{.Size}}

{{end -}}
{{range .Containers}}type: Container
container_id: {{.ID}}
image: {{.Image}}
command: {{.Command}}
created_at: {{.CreatedAt}}
state: {{- pad .State 1 0}}
status: {{- pad .Status 1 0}}
names: {{.Names}}
labels: {{- pad .Labels 1 0}}
ports: {{- pad .Ports 1 0}}
size: {{.Size}}

{{end -}}
{{range .Volumes}}type: Volume
name: {{.Name}}
driver: {{.Driver}}

{{end -}}
{{range .BuildCache}}type: Build Cache
build_cache_id: {{.ID}}
parent_id: {{.Parent}}
build_cache_type: {{.CacheType}}
description: {{.Description}}
created_at: {{.CreatedAt}}
created_since: {{.CreatedSince}}
last_used_at: {{.LastUsedAt}}
last_used_since: {{.LastUsedSince}}
usage_count: {{.UsageCount}}
in_use: {{.InUse}}
shared: {{.Shared}}

{{end -}}
";
const IMAGE_TABLE: &str = "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t\
                           {{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINER_TABLE: &str = "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t\
                               {{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUME_TABLE: &str = "table {{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE_TABLE: &str = "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t\
                           {{.UsageCount}}\t{{.Shared}}";
const CACHE_COLUMNS: [Column; 12] = [
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Description", "DESCRIPTION"),
    ("Size", "SIZE"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("LastUsedAt", "LAST USED AT"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("InUse", "IN USE"),
    ("Shared", "SHARED"),
];

/// What the daemon found.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Usage {
    layers_size: i64,
    images: Option<Vec<Image>>,
    containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    build_cache: Option<Vec<Cache>>,
}

/// What a build has left.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Cache {
    #[serde(rename = "ID")]
    id: String,
    parent: String,
    r#type: String,
    description: String,
    in_use: bool,
    shared: bool,
    size: i64,
    created_at: String,
    last_used_at: Option<String>,
    usage_count: i64,
}

/// Asks the daemon and prints the sums, or all that they are made of.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let usage: Usage = session.client.send(Call::get("/system/df")).await?.json().await?;
    let text = if args.verbose { verbose(&usage, &args.format)? } else { summary(&usage, &args.format)? };
    session::print(&text)
}

fn summary(usage: &Usage, format: &str) -> Result<String, CliError> {
    let format = Format::parse(if format == "raw" { RAW } else { format }, TABLE).map_err(template_error)?;
    let rows = [images_row(usage), containers_row(usage), volumes_row(usage), cache_row(usage)];
    format.render(&COLUMNS, &rows).map_err(template_error)
}

/// A kind's sums; `shares` says whether what could be free is also told as a part of the whole.
fn sum(kind: &str, count: usize, active: usize, size: i64, free: i64, shares: bool) -> Row {
    let mut reclaimable = units::precise_size(free);
    if shares && size > 0 {
        reclaimable.push_str(&format!(" ({}%)", free.saturating_mul(100) / size));
    }
    Row::default()
        .with("Type", kind)
        .with("TotalCount", count.to_string())
        .with("Active", active.to_string())
        .with("Size", units::precise_size(size))
        .with("Reclaimable", reclaimable)
}

fn images_row(usage: &Usage) -> Row {
    let images = usage.images.as_deref().unwrap_or_default();
    let active = images.iter().filter(|image| image.containers > 0);
    // What an image shares with others is not freed with it.
    let used: i64 = images
        .iter()
        .filter(|image| image.containers != 0 && image.size != -1 && image.shared_size != -1)
        .map(|image| image.size.saturating_sub(image.shared_size))
        .fold(0, i64::saturating_add);
    let size = usage.layers_size;
    sum("Images", images.len(), active.count(), size, size.saturating_sub(used), true)
}

fn containers_row(usage: &Usage) -> Row {
    let containers = usage.containers.as_deref().unwrap_or_default();
    let active = |container: &&Container| {
        ["running", "paused", "restarting"].iter().any(|word| container.state.contains(word))
    };
    let size = |containers: &mut dyn Iterator<Item = &Container>| {
        containers.map(|container| container.size_rw).fold(0, i64::saturating_add)
    };
    let free = size(&mut containers.iter().filter(|container| !active(container)));
    let all = size(&mut containers.iter());
    sum("Containers", containers.len(), containers.iter().filter(active).count(), all, free, true)
}

fn volumes_row(usage: &Usage) -> Row {
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let known = || volumes.iter().filter_map(|volume| volume.usage_data).filter(|usage| usage.size != -1);
    let size = known().map(|usage| usage.size).fold(0, i64::saturating_add);
    let unused = known().filter(|usage| usage.ref_count == 0);
    let free = unused.map(|usage| usage.size).fold(0, i64::saturating_add);
    let used = |volume: &&Volume| volume.usage_data.is_some_and(|usage| usage.ref_count > 0);
    sum("Local Volumes", volumes.len(), volumes.iter().filter(used).count(), size, free, true)
}

fn cache_row(usage: &Usage) -> Row {
    let caches = usage.build_cache.as_deref().unwrap_or_default();
    let active = caches.iter().filter(|cache| cache.in_use).count();
    sum("Build Cache", caches.len(), active, cache_size(caches, false), cache_size(caches, true), false)
}

/// Bytes of what builds have left. What is shared is counted with what it is shared with.
fn cache_size(caches: &[Cache], unused: bool) -> i64 {
    let counted = caches.iter().filter(|cache| !(cache.shared || unused && cache.in_use));
    counted.map(|cache| cache.size).fold(0, i64::saturating_add)
}

fn verbose(usage: &Usage, format: &str) -> Result<String, CliError> {
    let table = matches!(format, "" | "table");
    let now = time::now();
    let images = usage.images.iter().flatten().map(|image| images::first_row(image, table, now));
    let containers = usage.containers.iter().flatten().map(|container| {
        // The image's size is counted with the image.
        ps::row(container, table, now).with("Size", units::size(container.size_rw))
    });
    let volumes = usage.volumes.iter().flatten().map(volumes::row);
    let caches = usage.build_cache.as_deref().unwrap_or_default();
    let (images, containers, volumes) =
        (images.collect::<Vec<_>>(), containers.collect::<Vec<_>>(), volumes.collect::<Vec<_>>());
    let cache_rows: Vec<Row> = caches.iter().map(|cache| cache_row_of(cache, table, now)).collect();
    if !table {
        let template = match format {
            "json" => "{{json .}}",
            "raw" => RAW_DETAILS,
            template => template,
        };
        let data = json!({
            "Images": values(&images),
            "Containers": values(&containers),
            "Volumes": values(&volumes),
            "BuildCache": values(&cache_rows),
        });
        let template = Template::parse(template).map_err(template_error)?;
        return template.render_with(&data, &|_, _| None, Mode::Row).map_err(template_error);
    }
    let mut text = String::new();
    for (title, columns, table, rows) in [
        ("Images space usage:", &images::COLUMNS[..], IMAGE_TABLE, &images),
        ("Containers space usage:", &ps::COLUMNS[..], CONTAINER_TABLE, &containers),
        ("Local Volumes space usage:", &volumes::COLUMNS[..], VOLUME_TABLE, &volumes),
    ] {
        let part = Format::parse("", table).and_then(|format| format.render(columns, rows));
        text.push_str(&format!("{title}\n\n{}\n", part.map_err(template_error)?));
    }
    let part = Format::parse("", CACHE_TABLE).and_then(|format| format.render(&CACHE_COLUMNS, &cache_rows));
    let size = units::precise_size(cache_size(caches, false));
    text.push_str(&format!("Build cache usage: {size}\n\n{}", part.map_err(template_error)?));
    Ok(text)
}

fn values(rows: &[Row]) -> Vec<Value> {
    rows.iter().map(Row::to_value).collect()
}

fn cache_row_of(cache: &Cache, truncated: bool, now: i64) -> Row {
    let since = |text: &str| time::seconds_of(text).map_or(String::new(), |unix| time::ago(unix, now));
    let used = cache.last_used_at.as_deref().unwrap_or_default();
    let id = if truncated { cache.id.get(..12).unwrap_or(&cache.id) } else { &cache.id };
    Row::default()
        // What is in use is marked.
        .with("ID", format!("{id}{}", if cache.in_use { "*" } else { "" }))
        .with("Parent", cache.parent.as_str())
        .with("CacheType", cache.r#type.as_str())
        .with("Description", cache.description.as_str())
        .with("Size", units::size(cache.size))
        .with("CreatedAt", time::go_time(&cache.created_at))
        .with("CreatedSince", since(&cache.created_at))
        .with("LastUsedAt", time::go_time(used))
        .with("LastUsedSince", since(used))
        .with("UsageCount", cache.usage_count.to_string())
        .with("InUse", cache.in_use.to_string())
        .with("Shared", cache.shared.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from Docker's command line, version 28.2.
    #[test]
    fn the_sums_are_dockers() {
        let usage: Usage = serde_json::from_str(include_str!("../golden/df-server.json")).unwrap();
        assert_eq!(summary(&usage, "").unwrap(), include_str!("../golden/df.txt"));
        assert_eq!(
            summary(&usage, "{{.Type}} {{.Reclaimable}}").unwrap().lines().next(),
            Some("Images 5.74MB (57%)")
        );
    }

    #[test]
    fn details_have_a_table_for_each_kind() {
        let usage: Usage = serde_json::from_str(include_str!("../golden/df-server.json")).unwrap();
        let text = verbose(&usage, "").unwrap();
        let recorded = include_str!("../golden/df-verbose.txt");
        // Ages depend on the day; everything else is the same to the letter.
        let without_ages = |text: &str| -> Vec<String> {
            let words: Vec<&str> = text.split_whitespace().collect();
            let mut kept = Vec::new();
            let mut at = 0;
            while at < words.len() {
                let age = words.get(at + 2) == Some(&"ago");
                if !age {
                    kept.push(words[at].to_owned());
                }
                at += if age { 3 } else { 1 };
            }
            kept
        };
        assert_eq!(without_ages(&text), without_ages(recorded));
    }

    #[test]
    fn a_template_sees_the_lists() {
        let usage: Usage = serde_json::from_str(include_str!("../golden/df-server.json")).unwrap();
        assert_eq!(
            verbose(&usage, "{{range .Images}}{{.Repository}} {{.UniqueSize}};{{end}}").unwrap(),
            "busybox 4.26MB;team/app 5.74MB;<none> 500B;"
        );
        assert!(verbose(&usage, "json").unwrap().contains("\"Repository\":\"\\u003cnone\\u003e\""));
    }
}
