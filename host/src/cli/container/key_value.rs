//! `name=value` as variables and labels have it, on the command line and in files.

use std::collections::BTreeMap;

use crate::cli::error::{CliError, system_words};

/// A variable and, where there was an equals sign, its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    name: String,
    value: Option<String>,
}

/// Reads a variable as `--env` has it.
pub(crate) fn variable(text: &str) -> Result<Entry, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(format!("invalid environment variable: {text}"));
    }
    Ok(Entry { name: name.to_owned(), value })
}

/// Reads a label as `--label` has it.
pub(crate) fn label(text: &str) -> Result<String, String> {
    let name = text.split('=').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    if name.is_empty() {
        return Err(format!("invalid label '{text}': empty name"));
    }
    if name.contains([' ', '\t']) {
        return Err(format!("label '{name}' contains whitespaces"));
    }
    Ok(text.to_owned())
}

/// Variables as the engine takes them, those of files first so that flags win. One without a value gets it
/// from our own environment; where that has none, a file's is left out, and a flag's stays: it takes the
/// image's variable away.
pub(crate) fn variables(
    files: &[String],
    flags: &[Entry],
    own: &BTreeMap<String, String>,
) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for file in files {
        let entries = read_file(file)?.into_iter();
        all.extend(entries.filter_map(|Entry { name, value }| {
            let value = value.or_else(|| own.get(&name).cloned())?;
            Some(format!("{name}={value}"))
        }));
    }
    all.extend(flags.iter().map(|Entry { name, value }| match value.as_ref().or_else(|| own.get(name)) {
        Some(value) => format!("{name}={value}"),
        None => name.clone(),
    }));
    Ok(all)
}

/// Labels, those of files first so that flags win. A line of a file without a value is left out, as Docker does.
pub(crate) fn labels(files: &[String], flags: &[String]) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for file in files {
        let entries = read_file(file)?.into_iter();
        all.extend(entries.filter_map(|Entry { name, value }| Some(format!("{name}={}", value?))));
    }
    all.extend(flags.iter().cloned());
    Ok(all)
}

/// Reads a file with an entry a line; empty lines and those that start with `#` are left out.
fn read_file(path: &str) -> Result<Vec<Entry>, CliError> {
    let text = std::fs::read(path)
        .map_err(|error| CliError::said(format!("open {path}: {}", system_words(&error))))?;
    let invalid = |why: String| CliError::said(format!("invalid env file ({path}): {why}"));
    let text = String::from_utf8(text).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|byte| *byte == b'\n').count();
        invalid(format!("invalid utf8 bytes at line {line}"))
    })?;
    let mut entries = Vec::new();
    // Windows editors start a file with a byte order mark.
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let entry = variable(line).map_err(|_| invalid(format!("no variable name on line '{line}'")))?;
        if entry.name.contains([' ', '\t']) {
            return Err(invalid(format!("variable '{}' contains whitespaces", entry.name)));
        }
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_be_there() {
        assert_eq!(variable("=x").unwrap_err(), "invalid environment variable: =x");
        assert_eq!(label("=x").unwrap_err(), "invalid label '=x': empty name");
        assert_eq!(label("a b=x").unwrap_err(), "label 'a b' contains whitespaces");
        assert_eq!(variable("a=").unwrap(), Entry { name: "a".to_owned(), value: Some(String::new()) });
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        (file, path)
    }

    #[test]
    fn a_name_in_a_file_has_no_spaces() {
        let (_file, path) = file("a b=c\n");
        let error = variables(&[path], &[], &BTreeMap::new()).unwrap_err().to_string();
        assert!(error.ends_with("variable 'a b' contains whitespaces"), "{error}");
    }

    #[test]
    fn files_come_first_and_know_our_own_variables() {
        let (_file, path) = file("\u{feff}# a comment\n\n  A=from file\nHOME\nNOT_SET\n");
        let own = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        let flags = [variable("A=2").unwrap(), variable("NOT_SET").unwrap()];
        let all = variables(&[path], &flags, &own).unwrap();
        assert_eq!(all, ["A=from file", "HOME=/root", "A=2", "NOT_SET"]);
    }

    #[test]
    fn a_file_that_is_not_there_is_told_in_dockers_words() {
        let error = variables(&["/nonexistent".to_owned()], &[], &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "open /nonexistent: no such file or directory");
    }
}
