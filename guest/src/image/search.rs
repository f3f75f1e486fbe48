//! Searches Docker Hub, or another registry that answers the search of the first registry API (`/v1/search`).

use holm_api::DEFAULT_REGISTRY;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::Images;
use super::registry::{Endpoint, RegistryError, TransportFault, push_endpoints, search};
use super::settings::RegistryAuth;

/// The machine that knows Docker Hub's index.
const INDEX: &str = "https://index.docker.io";
/// Results that are asked for where nobody says how many.
const USUAL: u32 = 25;
/// More are never asked for. Docker Hub's rule.
const MOST: u32 = 100;

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Found {
    /// How many people like it.
    pub(crate) star_count: i64,
    /// Whether Docker looks after it.
    pub(crate) is_official: bool,
    /// As it is pulled.
    pub(crate) name: String,
    /// A thing of the past.
    pub(crate) is_automated: bool,
    /// A sentence.
    pub(crate) description: String,
}

/// Why nothing was found out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    /// The wish makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Nobody is there to be asked.
    #[error("invalid registry endpoint {url}v1/: {cause}")]
    Endpoint {
        /// The registry.
        url: String,
        /// Why not.
        cause: RegistryError,
    },
    /// Something else.
    #[error("Unexpected status code {0}")]
    Status(u16),
    /// On the way there.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Images {
    /// What the registry finds for `term`; with a registry's name in front of it, that one.
    pub(crate) async fn search(
        &self,
        term: &str,
        limit: u32,
        auth: &RegistryAuth,
    ) -> Result<Vec<Found>, SearchError> {
        if term.starts_with("http://") || term.starts_with("https://") {
            return Err(SearchError::Invalid(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let limit = if limit == 0 { USUAL } else { limit };
        if limit > MOST {
            return Err(SearchError::Invalid(format!("limit {limit} is outside the range of [1, {MOST}]")));
        }
        let (registry, name) = split(term);
        let connection = self.shared.connection()?;
        let mut failed = None;
        for endpoint in self.indexes(registry)? {
            match search(&connection, &endpoint, name, limit, auth).await {
                Ok((status, _)) if !(200..300).contains(&status) => return Err(SearchError::Status(status)),
                Ok((_, bytes)) => return Ok(read(&endpoint, &bytes)?),
                Err(cause @ RegistryError::Transport { .. }) if registry == DEFAULT_REGISTRY => {
                    return Err(cause.into());
                }
                Err(cause) => {
                    // Of TLS and plain HTTP to one place where nobody listens, one is enough.
                    let refused = matches!(
                        &cause,
                        RegistryError::Transport { fault: TransportFault::ConnectionRefused(_), .. }
                    );
                    if failed.is_none() || !refused {
                        failed = Some(SearchError::Endpoint { url: endpoint.base.to_string(), cause });
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(|| SearchError::Invalid(format!("{term:?} names no registry"))))
    }

    fn indexes(&self, registry: &str) -> Result<Vec<Endpoint>, RegistryError> {
        if registry != DEFAULT_REGISTRY {
            return push_endpoints(registry, &self.shared.settings.registries);
        }
        let base = Url::parse(INDEX).map_err(|error| RegistryError::Settings(error.to_string()))?;
        Ok(vec![Endpoint { base, lenient: false, mirror: false }])
    }
}

/// The registry that is asked, and what for.
fn split(term: &str) -> (&str, &str) {
    let own = |first: &str| first.contains(['.', ':']) || first == "localhost";
    match term.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => (DEFAULT_REGISTRY, official(rest)),
        Some((first, rest)) if own(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, official(term)),
    }
}

/// Found under its short name.
fn official(name: &str) -> &str {
    name.strip_prefix("library/").unwrap_or(name)
}

fn read(endpoint: &Endpoint, bytes: &[u8]) -> Result<Vec<Found>, RegistryError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        results: Vec<Found>,
    }
    let answer: Result<Answer, _> = serde_json::from_slice(bytes);
    let mut results = answer
        .map_err(|error| RegistryError::Protocol {
            registry: endpoint.name(),
            what: format!("error decoding registry search results: {error}"),
        })?
        .results;
    for found in &mut results {
        // What Docker Hub says of it is not to be trusted, says moby.
        found.is_automated = false;
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_in_front_of_the_term_is_the_one_asked() {
        assert_eq!(split("alpine"), ("docker.io", "alpine"));
        assert_eq!(split("library/alpine"), ("docker.io", "alpine"));
        assert_eq!(split("team/app"), ("docker.io", "team/app"));
        assert_eq!(split("docker.io/team/app"), ("docker.io", "team/app"));
        assert_eq!(split("localhost/app"), ("localhost", "app"));
        assert_eq!(split("r.lan:5000/team/app"), ("r.lan:5000", "team/app"));
    }

    #[test]
    fn results_are_read_with_what_they_lack() {
        let base = Url::parse(INDEX).unwrap();
        let endpoint = Endpoint { base, lenient: false, mirror: false };
        let text = br#"{"num_results":1,"results":[{"name":"a","star_count":3,"is_automated":true}]}"#;
        let found = read(&endpoint, text).unwrap();
        assert_eq!(found, [Found { name: "a".to_owned(), star_count: 3, ..Found::default() }]);
        assert!(read(&endpoint, b"<html>").is_err());
    }
}
