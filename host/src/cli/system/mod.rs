//! Commands about the daemon as a whole, one a file.

pub(crate) mod check;
pub(crate) mod df;
pub(crate) mod dial_stdio;
pub(crate) mod events;
pub(crate) mod info;
pub(crate) mod prune;
pub(crate) mod version;

use super::error::{BAD_TEMPLATE, CliError};
use super::template::Template;

/// The template of a `--format` that takes one object: nothing means its usual form, `json` the object itself.
/// `complaint` begins the error, which Docker words in two ways.
fn object_template(format: &str, complaint: &str) -> Result<Option<Template>, CliError> {
    let template = match format {
        "" => return Ok(None),
        "json" => Template::parse("{{json .}}"),
        format => Template::parse(format),
    };
    let template = template
        .map_err(|error| CliError::Said { text: format!("{complaint}: {error}"), code: BAD_TEMPLATE })?;
    Ok(Some(template))
}
