//! The `filters` parameter: JSON of a map of lists (`{"label": ["a=b"]}`) or, from older clients, a map of maps
//! (`{"label": {"a=b": true}}`).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use regex_lite::Regex;
use serde::Deserialize;

use crate::api::error::ApiError;
use crate::api::query::Query;

/// Bytes of the longest parameter that is read.
const LONGEST: usize = 64 * 1024;

/// Names of filters, and what they ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, BTreeSet<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    Map(BTreeMap<String, bool>),
    List(Vec<String>),
}

impl Filters {
    /// The filters of a request, if they are among `known`.
    pub(crate) fn of(query: &Query, known: &[&str]) -> Result<Self, ApiError> {
        let filters = match query.text("filters") {
            None => Self::default(),
            Some(text) => Self::parse(text).ok_or_else(|| ApiError::invalid("invalid filter"))?,
        };
        match filters.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::invalid(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let names: BTreeMap<String, Option<Values>> = serde_json::from_str(text).ok()?;
        let filters = names.into_iter().map(|(name, values)| {
            let values = match values {
                None => BTreeSet::new(),
                // moby looks at the keys alone.
                Some(Values::Map(map)) => map.into_keys().collect(),
                Some(Values::List(list)) => list.into_iter().collect(),
            };
            (name, values)
        });
        Some(Self(filters.collect()))
    }

    /// Whether it is there at all, even without a value.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// What it asks for.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether `text` is one of the values, or there are none.
    pub(crate) fn is(&self, name: &str, text: &str) -> bool {
        match self.0.get(name) {
            Some(values) if !values.is_empty() => values.contains(text),
            _ => true,
        }
    }

    /// Whether `text` is one of the values, or begins with one, or there are none.
    pub(crate) fn begins(&self, name: &str, text: &str) -> bool {
        self.is(name, text) || self.values(name).any(|value| text.starts_with(value))
    }

    /// Whether one of the values, read as regular expressions, is found in `text`, or there are none. A value
    /// that is no expression finds only itself, as in moby.
    pub(crate) fn matches(&self, name: &str, text: &str) -> bool {
        let found = |value: &str| Regex::new(value).is_ok_and(|expression| expression.is_match(text));
        self.is(name, text) || self.values(name).any(found)
    }

    /// Whether all values, `key` or `key=value`, are among `labels`.
    pub(crate) fn labelled(&self, name: &str, labels: &HashMap<String, String>) -> bool {
        self.values(name).all(|wanted| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|has| has == value),
            None => labels.contains_key(wanted),
        })
    }

    /// A filter that is yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(values) = self.0.get(name) else { return Ok(None) };
        let has = |words: [&str; 2]| words.iter().any(|word| values.contains(*word));
        match (has(["1", "true"]), has(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let values: Vec<_> = values.iter().map(String::as_str).collect();
                Err(ApiError::invalid(format!("invalid filter '{name}=[{}]'", values.join(" "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> Filters {
        Filters::parse(text).unwrap()
    }

    #[test]
    fn both_forms_mean_the_same() {
        let list = filters(r#"{"label":["a=b","c"],"all":[]}"#);
        let map = filters(r#"{"label":{"a=b":true,"c":false},"all":{}}"#);
        assert_eq!(list, map);
        assert!(list.has("all") && !list.has("name"));
        for wrong in ["", "[]", r#"{"a":"b"}"#, r#"{"a":[1]}"#] {
            assert!(Filters::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_filter_is_named() {
        let query = Query::parse(&format!(
            "filters={}",
            form_urlencoded::byte_serialize(br#"{"colour":["red"]}"#).collect::<String>()
        ));
        assert_eq!(Filters::of(&query, &["label"]).unwrap_err().into_parts().1, "invalid filter 'colour'");
    }

    #[test]
    fn names_are_found_by_expression_and_ids_by_beginning() {
        let filters = filters(r#"{"name":["^we","("],"id":["ab"]}"#);
        assert!(filters.matches("name", "web") && filters.matches("name", "("));
        assert!(!filters.matches("name", "theweb"));
        assert!(filters.begins("id", "abc") && !filters.begins("id", "xab"));
        assert!(filters.matches("other", "anything"));
    }

    #[test]
    fn all_wanted_labels_have_to_be_there() {
        let labels = HashMap::from([("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())]);
        assert!(filters(r#"{"label":["a=b","c"]}"#).labelled("label", &labels));
        assert!(!filters(r#"{"label":["a=x","c"]}"#).labelled("label", &labels));
        assert!(!filters(r#"{"label":["d"]}"#).labelled("label", &labels));
    }

    #[test]
    fn yes_and_no_at_once_is_neither() {
        assert_eq!(filters(r#"{"dangling":["true"]}"#).flag("dangling").unwrap(), Some(true));
        assert_eq!(filters(r#"{"dangling":["0"]}"#).flag("dangling").unwrap(), Some(false));
        assert_eq!(
            filters(r#"{"dangling":["1","0"]}"#).flag("dangling").unwrap_err().into_parts().1,
            "invalid filter 'dangling=[0 1]'"
        );
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_a_client_sends_is_filters_or_refused() {
        bolero::check!().with_type::<(String, String)>().for_each(|(text, name)| {
            if let Some(filters) = Filters::parse(text) {
                filters.matches("name", name);
                filters.begins("id", name);
                let _ = filters.flag("dangling");
            }
        });
    }

    #[test]
    fn no_expression_is_too_much() {
        bolero::check!().with_type::<(String, String)>().for_each(|(expression, name)| {
            let filters = Filters(BTreeMap::from([("name".into(), BTreeSet::from([expression.clone()]))]));
            filters.matches("name", name);
        });
    }
}
