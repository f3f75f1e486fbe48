//! Logging in as a registry asks for it: by name and password, or with a token that another server grants for them
//! (the distribution project's "Token Authentication Specification").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::RegistryError;
use super::challenge::{self, Challenge};
use super::connection::{Ask, protocol};
use super::content::Content;
use super::endpoint::host_of;
use super::refusal::LONGEST_WORD;
use super::session::{Access, Session, read_bounded};
use crate::image::settings::RegistryAuth;

/// Identity tokens that Docker got are Docker's client's, and both read the same file of them.
const CLIENT: &str = "docker";

/// Whether a token is wanted that is good for more than this once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasting {
    /// Also one that is kept in place of the password.
    Yes,
    /// No.
    No,
}

/// What a token server grants.
pub(super) struct Granted {
    pub(super) token: String,
    /// To get further tokens with, where one was asked for.
    pub(super) identity: Option<String>,
}

impl Session {
    /// Does what the challenge asks for. `false` where there is nothing new to try.
    pub(super) async fn log_in(
        &self,
        refused: &Response,
        used: Option<HeaderValue>,
    ) -> Result<bool, RegistryError> {
        let mut authorization = self.authorization.lock().await;
        if authorization.is_some() && *authorization != used {
            // Another request of this session was faster.
            return Ok(true);
        }
        let challenges = challenges(refused);
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            let token = match &self.auth {
                RegistryAuth::RegistryToken(token) if used.is_none() => token.clone(),
                RegistryAuth::RegistryToken(_) => return Ok(false),
                _ => self.grant(bearer, &self.scopes(bearer), Lasting::No).await?.token,
            };
            *authorization = Some(bearing(&token)?);
            return Ok(true);
        }
        if used.is_some() || !challenges.iter().any(|challenge| challenge.scheme == "basic") {
            return Ok(false);
        }
        let RegistryAuth::Basic { username, password } = &self.auth else {
            return Err(RegistryError::NoLogin { registry: self.name() });
        };
        *authorization = Some(basic(username, password)?);
        Ok(true)
    }

    /// What to ask the token server for. Who writes needs more than the challenge for a read says.
    fn scopes(&self, challenge: &Challenge) -> Vec<String> {
        let told = challenge.parameters.get("scope").map(String::as_str).unwrap_or_default();
        let told: Vec<String> = told.split_ascii_whitespace().map(str::to_owned).collect();
        let own = |actions: &str| format!("repository:{}:{actions}", self.repository);
        match self.access {
            Access::Pull if told.is_empty() => vec![own("pull")],
            Access::Pull => told,
            Access::Push => {
                let of_this = own("");
                // The others are of the repository that a blob is mounted from.
                let others = told.into_iter().filter(|scope| !scope.starts_with(&of_this));
                std::iter::once(own("push,pull")).chain(others).collect()
            }
        }
    }

    /// Gets a token: by a GET, or by a POST of OAuth 2 with an identity token.
    pub(super) async fn grant(
        &self,
        challenge: &Challenge,
        scopes: &[String],
        lasting: Lasting,
    ) -> Result<Granted, RegistryError> {
        let mut realm = self.realm(challenge)?;
        let service = challenge.parameters.get("service");
        let mut headers = HeaderMap::new();
        let (method, content) = match &self.auth {
            RegistryAuth::IdentityToken(token) => {
                let mut fields = url::form_urlencoded::Serializer::new(String::new());
                fields
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", token)
                    .append_pair("client_id", CLIENT)
                    .append_pair("scope", &scopes.join(" "))
                    .append_pair("service", service.map(String::as_str).unwrap_or_default());
                (Method::POST, Content::Form(fields.finish()))
            }
            auth => {
                let mut query = realm.query_pairs_mut();
                for scope in scopes {
                    query.append_pair("scope", scope);
                }
                if let Some(service) = service {
                    query.append_pair("service", service);
                }
                if lasting == Lasting::Yes {
                    query.append_pair("client_id", CLIENT).append_pair("offline_token", "true");
                }
                if let RegistryAuth::Basic { username, password } = auth {
                    query.append_pair("account", username);
                    headers.insert(AUTHORIZATION, basic(username, password)?);
                }
                drop(query);
                (Method::GET, Content::Nothing)
            }
        };
        let ask = Ask { method, url: &realm, headers, content, endpoint: &self.endpoint };
        let mut response = self.connection.send(ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let bytes = read_bounded(&mut response, LONGEST_WORD, self.patience().silence).await.ok();
        let granted = bytes.and_then(|bytes| granted(&bytes));
        granted.ok_or_else(|| protocol(&realm, "it grants a login without token"))
    }

    /// Where tokens are granted. A secret goes there in the open only where it would to the registry itself.
    fn realm(&self, challenge: &Challenge) -> Result<Url, RegistryError> {
        let base = &self.endpoint.base;
        let realm = challenge.parameters.get("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(realm) = realm.filter(|realm| matches!(realm.scheme(), "http" | "https")) else {
            return Err(protocol(base, "it asks for a login but not where"));
        };
        let at_registry =
            host_of(realm.host_str().unwrap_or_default()) == base.host_str().unwrap_or_default();
        let in_the_open = realm.scheme() == "http" && !(self.endpoint.lenient && at_registry);
        match in_the_open && self.auth != RegistryAuth::Anonymous {
            true => Err(protocol(base, "it asks for the password over plain HTTP")),
            false => Ok(realm),
        }
    }
}

/// How the answer says that one may log in.
pub(super) fn challenges(response: &Response) -> Vec<Challenge> {
    let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
    headers.filter_map(|value| challenge::parse(value.to_str().ok()?)).collect()
}

/// A token server's answer; `None` where it has no token.
fn granted(bytes: &[u8]) -> Option<Granted> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
        refresh_token: Option<String>,
    }
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let Answer { token, access_token, refresh_token } = serde_json::from_slice(bytes).ok()?;
    let token = some(token).or_else(|| some(access_token))?;
    Some(Granted { token, identity: some(refresh_token) })
}

/// `Authorization` with a name and a password.
pub(super) fn basic(username: &str, password: &str) -> Result<HeaderValue, RegistryError> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

/// `Authorization` with a token.
pub(super) fn bearing(token: &str) -> Result<HeaderValue, RegistryError> {
    secret(&format!("Bearer {token}"))
}

fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| RegistryError::Settings("the login has letters that no header has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_two_names_and_an_empty_one_is_none() {
        let token = |text: &str| granted(text.as_bytes()).map(|granted| granted.token);
        assert_eq!(token(r#"{"token":"a","access_token":"b"}"#).as_deref(), Some("a"));
        assert_eq!(token(r#"{"token":"","access_token":"b"}"#).as_deref(), Some("b"));
        assert_eq!(token(r#"{"token":""}"#), None);
        assert_eq!(token("<html>"), None);
        let lasting = granted(br#"{"token":"a","refresh_token":"r"}"#).unwrap();
        assert_eq!(lasting.identity.as_deref(), Some("r"));
    }

    #[test]
    fn a_login_does_not_show_in_logs() {
        assert_eq!(format!("{:?}", basic("me", "secret").unwrap()), "Sensitive");
    }
}
