//! `--filter name=value`, which most lists have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// One filter as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    name: String,
    value: String,
}

/// What is wrong with a text that should have been a filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad format of filter (expected name=value)")]
pub(crate) struct NotAFilter;

impl Filter {
    /// For what is a filter by another flag or argument.
    pub(crate) fn new(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned() }
    }

    /// Whether it is one of this name.
    pub(crate) fn is_about(&self, name: &str) -> bool {
        self.name == name
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl FromStr for Filter {
    type Err = NotAFilter;

    fn from_str(text: &str) -> Result<Self, NotAFilter> {
        let (name, value) = text.split_once('=').ok_or(NotAFilter)?;
        Ok(Self { name: name.trim().to_lowercase(), value: value.trim().to_owned() })
    }
}

/// All filters in the form of the API's parameter, `{"name":{"value":true}}`; `None` where there are none.
pub(crate) fn parameter(filters: &[Filter]) -> Option<String> {
    if filters.is_empty() {
        return None;
    }
    let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for Filter { name, value } in filters {
        names.entry(name).or_default().insert(value);
    }
    let values = |set: BTreeSet<&str>| -> serde_json::Value {
        set.into_iter().map(|value| (value.to_owned(), true.into())).collect::<serde_json::Map<_, _>>().into()
    };
    let names: serde_json::Map<_, _> =
        names.into_iter().map(|(name, set)| (name.to_owned(), values(set))).collect();
    Some(serde_json::Value::from(names).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_gathered_by_name() {
        let filters: Vec<Filter> = ["status=exited", "Label=a=b", "status= created "]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(
            parameter(&filters).unwrap(),
            r#"{"label":{"a=b":true},"status":{"created":true,"exited":true}}"#
        );
        assert_eq!(parameter(&[]), None);
    }

    #[test]
    fn a_filter_without_a_value_is_refused_in_dockers_words() {
        let error = "dangling".parse::<Filter>().unwrap_err();
        assert_eq!(error.to_string(), "bad format of filter (expected name=value)");
    }
}
