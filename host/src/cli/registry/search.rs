//! `search`: finds repositories of Docker Hub, or of another registry that can be searched.

use serde::Deserialize;

use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::filter::{self, Filter};
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table;
use crate::cli::session::{self, Session};

/// `holm search`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Filter output based on conditions provided
    #[arg(short, long, value_name = "filter")]
    filter: Vec<Filter>,
    /// Pretty-print search using a Go template
    #[arg(long, value_name = "string", default_value = "")]
    format: String,
    /// Max number of search results
    #[arg(long, value_name = "int", default_value = "0", hide_default_value = true)]
    limit: i64,
    /// Don't truncate output
    #[arg(long)]
    no_trunc: bool,
    #[arg(required = true, value_name = "TERM")]
    term: String,
}

const COLUMNS: [Column; 4] =
    [("Name", "NAME"), ("Description", "DESCRIPTION"), ("StarCount", "STARS"), ("IsOfficial", "OFFICIAL")];
const TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
/// Columns of a description that is cut.
const DESCRIPTION: usize = 45;

/// A repository as the daemon lists it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Found {
    name: String,
    description: String,
    star_count: i64,
    is_official: bool,
}

/// Asks and prints the list.
pub(crate) async fn run(args: &Args, session: &Session) -> Result<(), CliError> {
    if args.filter.iter().any(|filter| filter.is_about("is-automated")) {
        session::warn(
            "WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.",
        );
    }
    let format = Format::parse(&args.format, TABLE).map_err(template_error)?;
    // A registry that does not know us may still be searched.
    let login = session.credentials.of_registry(registry(&args.term)).await.unwrap_or_default();
    let call = Call::get("/images/search")
        .query("term", &args.term)
        .option("filters", filter::parameter(&args.filter))
        .option("limit", (args.limit != 0).then(|| args.limit.to_string()))
        .login(&login);
    let found: Vec<Found> = session.client.send(call).await?.json().await?;
    let is_json = args.format == "json" || format.mentions("json");
    let rows: Vec<Row> = found.iter().map(|found| row(found, !args.no_trunc, is_json)).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)
}

/// Whose login a term may need.
fn registry(term: &str) -> &str {
    match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    }
}

fn row(found: &Found, cut: bool, is_json: bool) -> Row {
    let description = found.description.replace(['\n', '\r'], " ");
    let official = match (found.is_official, is_json) {
        (yes, true) => yes.to_string(),
        (true, false) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    Row::default()
        .with("Name", found.name.as_str())
        .with("Description", if cut { table::ellipsis(&description, DESCRIPTION) } else { description })
        .with("StarCount", found.star_count.to_string())
        .with("IsOfficial", official)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found() -> Found {
        Found {
            name: "alpine".to_owned(),
            description: "A minimal\nimage".to_owned(),
            star_count: 9,
            is_official: true,
        }
    }

    #[test]
    fn the_table_is_dockers() {
        let format = Format::parse("", TABLE).unwrap();
        assert_eq!(
            format.render(&COLUMNS, &[row(&found(), true, false)]).unwrap(),
            "NAME      DESCRIPTION       STARS     OFFICIAL\nalpine    A minimal image   9         [OK]\n"
        );
        let format = Format::parse("json", TABLE).unwrap();
        assert_eq!(
            format.render(&COLUMNS, &[row(&found(), true, true)]).unwrap(),
            "{\"Description\":\"A minimal image\",\"IsOfficial\":\"true\",\"Name\":\"alpine\",\"StarCount\":\"9\"}\n"
        );
    }

    #[test]
    fn a_term_may_name_its_registry() {
        assert_eq!(registry("alpine"), "docker.io");
        assert_eq!(registry("team/app"), "docker.io");
        assert_eq!(registry("localhost:5000/app"), "localhost:5000");
    }
}
