//! A request's query string, read as moby reads it: the first value of a name counts, and there are five ways
//! to say no.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::api::error::ApiError;

/// Names and values in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`; nothing in it is an error.
    pub(crate) fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The first value, `None` where it is absent or empty: no parameter tells these apart.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        (!value.is_empty()).then_some(value)
    }

    /// All values of a parameter that may come again.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Yes, unless it is absent or one of the words for no.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// Likewise, with another answer for an absent one.
    pub(crate) fn flag_or(&self, name: &str, absent: bool) -> bool {
        match self.0.iter().find(|(key, _)| key == name) {
            None => absent,
            Some((_, value)) => {
                !matches!(value.trim().to_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
            }
        }
    }

    /// A whole number; `None` where it is absent.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<Option<N>, ApiError> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ApiError::invalid(format!("invalid value for {name}: {text:?} is no number"))),
            },
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_words_for_no_and_any_other_is_yes() {
        for no in ["", "0", "no", "False", "none"] {
            assert!(!Query::parse(&format!("all={no}")).flag("all"), "{no:?}");
        }
        for yes in ["1", "true", "yes", "2"] {
            assert!(Query::parse(&format!("all={yes}")).flag("all"), "{yes:?}");
        }
        assert!(!Query::parse("").flag("all"));
        assert!(Query::parse("").flag_or("stream", true));
    }

    #[test]
    fn the_first_value_counts_and_an_empty_one_is_none() {
        let query = Query::parse("a=1&a=2&b=&c=x%2Fy+z");
        assert_eq!(query.text("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.text("b"), None);
        assert_eq!(query.text("c"), Some("x/y z"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!(Query::parse("t=-1").number::<i64>("t").unwrap(), Some(-1));
        assert!(Query::parse("t=soon").number::<i64>("t").is_err());
    }
}
