//! `name=value` as variables and labels have it, on the command line and in files.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli::error::CliError;

/// A name and, where there was an equals sign, its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// Reads a variable as `--env` has it.
pub(crate) fn variable(text: &str) -> Result<Entry, String> {
    entry(text, "environment variable")
}

/// Reads a label as `--label` has it.
pub(crate) fn label(text: &str) -> Result<Entry, String> {
    entry(text, "label")
}

fn entry(text: &str, what: &str) -> Result<Entry, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("invalid {what}: {text}"));
    }
    Ok(Entry { name: name.to_owned(), value })
}

/// Reads a file with an entry a line; empty lines and those that start with `#` are left out.
pub(crate) fn read_file(
    path: &Path,
    parse: impl Fn(&str) -> Result<Entry, String>,
) -> Result<Vec<Entry>, CliError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| CliError::Local { what: format!("open {}", path.display()), cause })?;
    let mut entries = Vec::new();
    // Windows editors start a file with a byte order mark.
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let invalid = |why: String| CliError::said(format!("invalid env file ({}): {why}", path.display()));
        let entry = parse(line).map_err(|_| invalid(format!("no variable name on line '{line}'")))?;
        if entry.name.contains([' ', '\t']) {
            return Err(invalid(format!("variable '{}' contains whitespaces", entry.name)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Variables as the engine takes them. Those without a value get it from our own environment, or are left
/// out where that has none.
pub(crate) fn environment(entries: Vec<Entry>, own: &BTreeMap<String, String>) -> Vec<String> {
    entries
        .into_iter()
        .filter_map(|Entry { name, value }| {
            let value = value.or_else(|| own.get(&name).cloned())?;
            Some(format!("{name}={value}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_there() {
        assert_eq!(variable("=x").unwrap_err(), "invalid environment variable: =x");
        assert_eq!(label("").unwrap_err(), "invalid label: ");
        assert_eq!(variable("a=").unwrap(), Entry { name: "a".to_owned(), value: Some(String::new()) });
    }

    #[test]
    fn a_name_in_a_file_has_no_spaces() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "a b=c\n").unwrap();
        let error = read_file(file.path(), variable).unwrap_err().to_string();
        assert!(error.ends_with("variable 'a b' contains whitespaces"), "{error}");
    }
}
