//! How registries are reached: what the host told the guest, and the login that a client sent along.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use holm_api::link::{Configure, Proxy, Registries};
use holm_api::network::HOST_V4;
use serde::Deserialize;

use super::registry::Patience;

/// What is the same for all pulls.
#[derive(Clone, Debug)]
pub(crate) struct RegistrySettings {
    /// Roots of trust, PEM, one after the other.
    pub(crate) root_certificates: String,
    /// Mirrors, and registries that need no TLS.
    pub(crate) registries: Registries,
    /// Proxies of the host.
    pub(crate) proxy: Option<Proxy>,
    /// What is dialled where a name means loopback: whoever types `localhost` means their computer, not the
    /// machine that Holm runs in it.
    pub(crate) loopback: IpAddr,
    /// How long registries may take.
    pub(crate) patience: Patience,
}

impl RegistrySettings {
    /// As the host configured this machine.
    pub(crate) fn from_configure(configure: &Configure) -> Self {
        Self {
            root_certificates: configure.root_certificates.clone(),
            registries: configure.registries.clone(),
            proxy: configure.proxy.clone(),
            loopback: IpAddr::V4(HOST_V4),
            patience: Patience::default(),
        }
    }
}

/// How to log in at a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) enum RegistryAuth {
    /// As nobody.
    #[default]
    Anonymous,
    /// With a name and a password (or personal token).
    Basic {
        /// Who.
        username: String,
        /// The secret.
        password: String,
    },
    /// With an OAuth 2 refresh token, which a login server once gave.
    IdentityToken(String),
    /// With a bearer token, sent as it is.
    RegistryToken(String),
}

/// A login that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid X-Registry-Auth header: {0}")]
pub(crate) struct ParseAuthError(String);

impl RegistryAuth {
    /// Reads `X-Registry-Auth` (Engine API, "Authentication"): base64url of a JSON object. Clients send it
    /// empty, or as an empty object, where nobody is logged in.
    pub(crate) fn from_header(text: &str) -> Result<Self, ParseAuthError> {
        if text.is_empty() {
            return Ok(Self::Anonymous);
        }
        Self::from_json(&lenient_base64(text)?)
    }

    /// Reads the JSON object itself.
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, ParseAuthError> {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct AuthConfig {
            username: String,
            password: String,
            auth: String,
            identitytoken: String,
            registrytoken: String,
        }
        let config: Option<AuthConfig> =
            serde_json::from_slice(bytes).map_err(|error| ParseAuthError(error.to_string()))?;
        let config = config.unwrap_or_default();
        if !config.identitytoken.is_empty() {
            return Ok(Self::IdentityToken(config.identitytoken));
        }
        if !config.registrytoken.is_empty() {
            return Ok(Self::RegistryToken(config.registrytoken));
        }
        if !config.username.is_empty() {
            return Ok(Self::Basic { username: config.username, password: config.password });
        }
        if config.auth.is_empty() {
            return Ok(Self::Anonymous);
        }
        let pair = String::from_utf8(lenient_base64(&config.auth)?)
            .map_err(|error| ParseAuthError(error.to_string()))?;
        let (username, password) =
            pair.split_once(':').ok_or_else(|| ParseAuthError("auth is not name:password".to_owned()))?;
        Ok(Self::Basic { username: username.to_owned(), password: password.to_owned() })
    }
}

/// Both alphabets, with and without padding: clients differ.
fn lenient_base64(text: &str) -> Result<Vec<u8>, ParseAuthError> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&base64::alphabet::URL_SAFE, config)
        .decode(text.replace('+', "-").replace('/', "_"))
        .map_err(|error| ParseAuthError(error.to_string()))
}

/// Secrets stay out of logs.
impl std::fmt::Debug for RegistryAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => write!(f, "Basic({username}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> String {
        base64::engine::general_purpose::URL_SAFE.encode(json)
    }

    #[test]
    fn every_form_of_login_is_read() {
        let basic = RegistryAuth::Basic { username: "me".into(), password: "s:cret".into() };
        let read = |json| RegistryAuth::from_header(&header(json)).unwrap();
        assert_eq!(read(r#"{"username":"me","password":"s:cret"}"#), basic);
        assert_eq!(read(r#"{"auth":"bWU6czpjcmV0","serveraddress":"r"}"#), basic);
        assert_eq!(read(r#"{"identitytoken":"t"}"#), RegistryAuth::IdentityToken("t".into()));
        assert_eq!(read("{}"), RegistryAuth::Anonymous);
        assert_eq!(read("null"), RegistryAuth::Anonymous);
        assert_eq!(RegistryAuth::from_header(""), Ok(RegistryAuth::Anonymous));
    }

    #[test]
    fn padding_may_be_missing() {
        let text = header(r#"{"username":"a","password":"b"}"#);
        assert!(RegistryAuth::from_header(text.trim_end_matches('=')).is_ok());
    }

    #[test]
    fn a_header_that_is_no_login_is_an_error_and_shows_no_secret() {
        assert!(RegistryAuth::from_header("%%%").is_err());
        assert!(RegistryAuth::from_header(&header("[1]")).is_err());
        let basic = RegistryAuth::Basic { username: "me".into(), password: "secret".into() };
        assert!(!format!("{basic:?}").contains("secret"));
    }
}
