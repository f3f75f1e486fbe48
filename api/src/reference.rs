//! Image references, by the grammar of Docker's distribution reference: `[domain/]path[:tag][@digest]`.
//!
//! What a user types is *familiar* (`alpine`, `team/app:1`); inside, a reference always names its registry
//! (`docker.io/library/alpine:latest`). The rules that turn one into the other are Docker's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// The registry of a reference that names none.
pub const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";
/// OCI distribution-spec: longest repository name, the registry included.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// What is wrong with a reference, in Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// It does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The repository has capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The name is over 255 bytes.
    #[error("repository name must not be more than 255 characters")]
    TooLong,
    /// 64 hexadecimal digits name an image id, never a repository.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

/// A checked image reference that names its registry. `None` as tag and digest both means "the repository".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Host and optional port: `docker.io`, `localhost:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path inside the registry, `library/` included: `library/alpine`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag that was given, if one was.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that was given, if one was.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// With the tag `latest` where neither a tag nor a digest was given.
    pub fn or_latest(mut self) -> Self {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// The same repository with this tag and no digest. Fails where `tag` is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ParseReferenceError> {
        if !is_tag(tag) {
            return Err(ParseReferenceError::Format);
        }
        Ok(Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() })
    }

    /// The same repository with this digest and no tag.
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    /// The repository as a user types it: `alpine`, `team/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.registry != DEFAULT_REGISTRY {
            return format!("{}/{}", self.registry, self.repository);
        }
        match self.repository.strip_prefix("library/") {
            Some(official) if !official.contains('/') => official.to_owned(),
            _ => self.repository.clone(),
        }
    }

    /// All of it as a user types it: `alpine:latest`, `team/app@sha256:…`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Self, ParseReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ParseReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| ParseReferenceError::Format)?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            // A colon before the last slash belongs to the registry's port.
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ParseReferenceError::Format);
        }
        let (registry, repository) = split_registry(name);
        if repository.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseReferenceError::Uppercase(repository));
        }
        if !is_registry(&registry) || !repository.split('/').all(is_path_component) {
            return Err(ParseReferenceError::Format);
        }
        if registry.len() + 1 + repository.len() > LONGEST_NAME {
            return Err(ParseReferenceError::TooLong);
        }
        Ok(Self { registry, repository, tag: tag.map(str::to_owned), digest })
    }
}

/// The part before the first slash is a registry only where it looks like one: otherwise `team/app` would
/// name a host called `team`.
fn split_registry(name: &str) -> (String, String) {
    let (registry, repository) = match name.split_once('/') {
        Some((first, rest)) if names_a_host(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = if registry == "index.docker.io" { DEFAULT_REGISTRY } else { registry };
    if registry == DEFAULT_REGISTRY && !repository.contains('/') {
        (registry.to_owned(), format!("{OFFICIAL_NAMESPACE}/{repository}"))
    } else {
        (registry.to_owned(), repository.to_owned())
    }
}

fn names_a_host(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => return is_port(port),
                None => return port.is_empty(),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+` joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes
            .split(alphanumeric)
            .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    !text.is_empty()
        && text.len() <= LONGEST_TAG
        && text.bytes().enumerate().all(|(i, b)| word(b) || (i > 0 && matches!(b, b'.' | b'-')))
}

/// With its registry: `docker.io/library/alpine:latest`.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(format!("{}/{}", self.registry, self.repository)))
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Self, ParseReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(text: &str) -> String {
        text.parse::<Reference>().unwrap().or_latest().to_string()
    }

    #[test]
    fn familiar_names_get_their_registry_namespace_and_tag() {
        assert_eq!(full("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("team/app:1"), "docker.io/team/app:1");
        assert_eq!(full("docker.io/alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("index.docker.io/library/alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/a/b-c__d.e:x.Y-1"), "localhost:5000/a/b-c__d.e:x.Y-1");
        assert_eq!(full("[::1]:5000/app"), "[::1]:5000/app:latest");
    }

    #[test]
    fn a_full_name_is_shown_as_it_would_be_typed() {
        for text in ["alpine:3", "team/app:1", "localhost:5000/app:2", "ghcr.io/a/b:latest"] {
            assert_eq!(text.parse::<Reference>().unwrap().familiar(), text);
        }
    }

    #[test]
    fn a_digest_stands_in_for_the_tag() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let reference: Reference = format!("alpine@{digest}").parse().unwrap();
        assert_eq!(reference.clone().or_latest().tag(), None);
        assert_eq!(reference.familiar(), format!("alpine@{digest}"));
    }

    #[test]
    fn wrong_references_get_dockers_words() {
        let error = |text: &str| text.parse::<Reference>().unwrap_err().to_string();
        for text in
            ["", ":tag", "a//b", "-a", "a-", "a..b", "a___b", "alpine:", "alpine:-x", "a b", "a@sha256:1"]
        {
            assert_eq!(error(text), "invalid reference format", "{text:?}");
        }
        assert_eq!(
            error("Alpine"),
            "invalid reference format: repository name (library/Alpine) must be lowercase"
        );
        assert!(error(&"a".repeat(64)).contains("cannot specify 64-byte hexadecimal strings"));
        assert!(error(&"a/".repeat(200)[..399].replace('a', "xy")).contains("255"));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_parses_prints_to_something_that_parses_to_the_same() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if let Ok(reference) = text.parse::<Reference>() {
                assert_eq!(reference.to_string().parse::<Reference>().as_ref(), Ok(&reference));
                assert_eq!(reference.familiar().parse::<Reference>().as_ref(), Ok(&reference));
            }
        });
    }
}
