//! How registries say no, and whether asking again may help.

use std::time::Duration;

use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::session::{Session, read_bounded};
use super::{RegistryError, TransportFault, challenge};

/// Bytes of the largest answer of a login server, and of the largest error that is read.
pub(super) const LONGEST_WORD: usize = 256 << 10;

impl Session {
    /// Reads a registry's refusal.
    pub(super) async fn refusal(&self, mut response: Response) -> RegistryError {
        let registry = self.name();
        let status = response.status();
        let refused = |code: &str, message: String| RegistryError::Refused {
            code: code.to_owned(),
            message,
            registry: registry.clone(),
        };
        let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
        for challenge in challenges.filter_map(|value| challenge::parse(value.to_str().ok()?)) {
            let (code, standard) = match challenge.parameters.get("error").map(String::as_str) {
                Some("insufficient_scope") => ("DENIED", "requested access to the resource is denied"),
                Some("invalid_token") => ("UNAUTHORIZED", "authentication required"),
                _ => continue,
            };
            let message = challenge.parameters.get("error_description");
            return refused(code, message.map_or_else(|| standard.to_owned(), Clone::clone));
        }
        let body =
            read_bounded(&mut response, LONGEST_WORD, self.patience().silence).await.unwrap_or_default();
        if let Some((code, message)) = told(&body) {
            return refused(&code, message);
        }
        match status {
            StatusCode::UNAUTHORIZED => refused("UNAUTHORIZED", "authentication required".to_owned()),
            StatusCode::FORBIDDEN => {
                refused("DENIED", "requested access to the resource is denied".to_owned())
            }
            StatusCode::TOO_MANY_REQUESTS => refused("TOOMANYREQUESTS", "too many requests".to_owned()),
            StatusCode::NOT_FOUND if response.url().path().contains("/manifests/") => {
                refused("MANIFEST_UNKNOWN", "manifest unknown".to_owned())
            }
            status => RegistryError::Status { status: status.to_string(), registry: registry.clone() },
        }
    }
}

/// The first error in a body by the distribution specification, or what Hub sends instead.
pub(super) fn told(body: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<One>,
        details: Option<String>,
    }
    #[derive(Deserialize)]
    struct One {
        code: String,
        #[serde(default)]
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let first = body.errors.into_iter().next();
    match (first, body.details) {
        (Some(first), _) => {
            let message = if first.message.is_empty() { first.code.to_lowercase() } else { first.message };
            Some((first.code, message))
        }
        (None, Some(details)) => Some(("UNAUTHORIZED".to_owned(), details)),
        (None, None) => None,
    }
}

pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    // The other form, a date, is a guess about two clocks; it counts as none.
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Whether the same question may be answered another time.
pub(super) fn is_passing(error: &RegistryError) -> bool {
    match error {
        RegistryError::Transport { fault, .. } => {
            matches!(fault, TransportFault::Closed | TransportFault::AnswerTimeout | TransportFault::Other(_))
        }
        RegistryError::Status { status, .. } => status.starts_with('5'),
        RegistryError::Stalled { .. } | RegistryError::BrokeOff { .. } => true,
        _ => false,
    }
}

/// A blob that is not there, however that is said.
pub(super) fn blob_unknown(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { code, .. } if code == "BLOB_UNKNOWN" => RegistryError::BlobUnknown,
        RegistryError::Status { status, .. } if status.starts_with("404") => RegistryError::BlobUnknown,
        other => other,
    }
}
