//! `context ls`: lists contexts.

use super::store::{Context, DEFAULT, Store};
use crate::cli::arguments::{Caller, TABLE_FORMAT_HELP};
use crate::cli::error::CliError;
use crate::cli::output::order::natural;
use crate::cli::output::rows::{Column, Format, Row, template_error};
use crate::cli::output::table::ellipsis;
use crate::cli::session;

/// `holm context ls`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(long, value_name = "string", default_value = "", help = TABLE_FORMAT_HELP)]
    format: String,
    /// Only show context names
    #[arg(short, long)]
    quiet: bool,
}

// The mark of the current one stands in the column of the names, so that its own has no header.
const COLUMNS: [Column; 5] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("DockerEndpoint", "DOCKER ENDPOINT"),
    ("Error", "ERROR"),
    ("Current", ""),
];
const TABLE: &str =
    "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}";
/// Columns of an error.
const ERROR_WIDTH: usize = 45;

/// Prints the contexts that are kept, the default one, and the current one even where it is not there.
pub(super) fn run(args: &Args, caller: &Caller<'_>) -> Result<(), CliError> {
    let format = match args.format.as_str() {
        "" | "table" if args.quiet => Format::parse("{{.Name}}", ""),
        format => Format::parse(format, TABLE),
    };
    let format = format.map_err(template_error)?;
    let store = Store::of(&caller.config);
    let current = caller.context();
    let mut contexts = store.list();
    contexts.push(caller.default_context()?);
    let mut entries: Vec<(String, Row)> =
        contexts.iter().map(|context| (context.name().to_owned(), row(context, &current))).collect();
    if current != DEFAULT
        && let Err(error) = store.read(&current)
    {
        let row = Row::default()
            .with("Name", current.as_str())
            .with("Current", true)
            .with("Description", "")
            .with("DockerEndpoint", "")
            .with("Error", ellipsis(&error.to_string(), ERROR_WIDTH));
        entries.push((current.clone(), row));
    }
    entries.sort_by(|(a, _), (b, _)| natural(a, b));
    let rows: Vec<Row> = entries.into_iter().map(|(_, row)| row).collect();
    session::print(&format.render(&COLUMNS, &rows).map_err(template_error)?)?;
    if let Some(variable) = caller.overriding_variable() {
        session::warn(&format!(
            "Warning: {variable} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {variable} environment variable."
        ));
    }
    Ok(())
}

fn row(context: &Context, current: &str) -> Row {
    Row::default()
        .with("Name", context.name())
        .with("Current", context.name() == current)
        .with("Description", context.description())
        .with("DockerEndpoint", context.host())
        .with("Error", "")
}
