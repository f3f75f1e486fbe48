//! Whether a registry takes a login: what `docker login` asks before it keeps one.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::connection::Ask;
use super::login::{Lasting, basic, bearing, challenges};
use super::session::{Access, Session};
use super::{Connection, Endpoint, RegistryError};
use crate::image::settings::RegistryAuth;

/// Why a login is not good.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    /// The registry's login server says so.
    #[error("Get \"{url}\": {cause}")]
    Unauthorized {
        /// Where the login was tried.
        url: String,
        /// Its words.
        cause: RegistryError,
    },
    /// There is no name and password, and the registry wants them.
    #[error("Get \"{url}\": no basic auth credentials")]
    Missing {
        /// Where the login was tried.
        url: String,
    },
    /// The registry itself does not take it.
    #[error("login attempt to {url} failed with status: {status}")]
    Refused {
        /// Where the login was tried.
        url: String,
        /// Number and name.
        status: String,
    },
    /// Anything else.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// Logs in at one endpoint. Returns the identity token to keep in place of the password, where there is one.
pub(crate) async fn check(
    connection: &Arc<Connection>,
    endpoint: &Endpoint,
    auth: RegistryAuth,
) -> Result<Option<String>, LoginError> {
    let url = endpoint.url("");
    let refused = connection.send(Ask::get(&url, HeaderMap::new(), endpoint)).await?;
    if refused.status().is_success() {
        return Ok(None);
    }
    let challenges = challenges(&refused);
    let offered = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
    let session = Session::new(connection.clone(), endpoint.clone(), "", Access::Pull, auth);
    let shown = || url.to_string();
    let mut headers = HeaderMap::new();
    let mut identity = None;
    if let Some(bearer) = offered("bearer") {
        let granted = session.grant(bearer, &[], Lasting::Yes).await.map_err(|cause| match cause {
            RegistryError::Refused { ref code, .. } if code == "UNAUTHORIZED" => {
                LoginError::Unauthorized { url: shown(), cause }
            }
            other => other.into(),
        })?;
        headers.insert(AUTHORIZATION, bearing(&granted.token)?);
        identity = granted.identity;
    } else if offered("basic").is_some() {
        let RegistryAuth::Basic { username, password } = &session.auth else {
            return Err(LoginError::Missing { url: shown() });
        };
        headers.insert(AUTHORIZATION, basic(username, password)?);
    }
    let status = connection.send(Ask::get(&url, headers, endpoint)).await?.status();
    match status.is_success() {
        true => Ok(identity),
        false => Err(LoginError::Refused { url: shown(), status: status.to_string() }),
    }
}
