//! One repository at one endpoint, as one user: requests with the login they need, repeated where that may help.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holm_api::Digest;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Response, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::challenge::{self, Challenge};
use super::connection::{Ask, Connection, protocol};
use super::endpoint::host_of;
use super::{Endpoint, RegistryError, TransportFault};
use crate::image::settings::RegistryAuth;

/// Bytes of the largest answer of a login server, and of the largest error that is read.
const LONGEST_WORD: usize = 256 << 10;

/// Manifests that are understood, those of schema 1 too, so that a registry sends one and it can be refused.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws";

/// A repository, and how to get at it.
pub(crate) struct Session {
    connection: Arc<Connection>,
    endpoint: Endpoint,
    repository: String,
    auth: RegistryAuth,
    /// What goes into `Authorization`, once a challenge told.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest as it came.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// As the registry says it is.
    pub(crate) media_type: Option<String>,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

impl Session {
    /// A session that has said nothing yet.
    pub(crate) fn new(
        connection: Arc<Connection>,
        endpoint: Endpoint,
        repository: &str,
        auth: RegistryAuth,
    ) -> Self {
        // A mirror is not the registry that the user logged in to.
        let auth = if endpoint.mirror { RegistryAuth::Anonymous } else { auth };
        Self {
            connection,
            endpoint,
            repository: repository.to_owned(),
            auth,
            authorization: Mutex::default(),
        }
    }

    pub(super) fn patience(&self) -> super::Patience {
        self.connection.patience
    }

    /// `host:port` of the endpoint.
    pub(crate) fn name(&self) -> String {
        self.endpoint.name()
    }

    /// The manifest that `tag_or_digest` names, of at most `limit` bytes.
    pub(crate) async fn manifest(
        &self,
        tag_or_digest: &str,
        limit: usize,
    ) -> Result<Document, RegistryError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(MANIFESTS));
        self.document(&format!("manifests/{tag_or_digest}"), headers, limit).await
    }

    /// A small blob, of at most `limit` bytes.
    pub(crate) async fn small_blob(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, RegistryError> {
        let document = self.document(&format!("blobs/{digest}"), HeaderMap::new(), limit).await;
        Ok(document.map_err(blob_unknown)?.bytes)
    }

    /// The answer that brings a blob, from byte `offset` on. Its status is 200 or 206.
    pub(super) async fn blob_from(&self, digest: &Digest, offset: u64) -> Result<Response, RegistryError> {
        let mut headers = HeaderMap::new();
        if offset > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={offset}-"))
        {
            headers.insert(RANGE, range);
        }
        self.get(&format!("blobs/{digest}"), headers).await.map_err(blob_unknown)
    }

    /// Reads an answer to its end, again from its beginning where it broke off.
    async fn document(
        &self,
        path: &str,
        headers: HeaderMap,
        limit: usize,
    ) -> Result<Document, RegistryError> {
        let mut attempt = 1;
        loop {
            let read = match self.get(path, headers.clone()).await {
                Ok(response) => self.read(response, limit, path).await,
                Err(error) => Err(error),
            };
            match read {
                Err(error) if attempt < self.patience().attempts && is_passing(&error) => {
                    tracing::debug!(%error, attempt, "asking again");
                    tokio::time::sleep(self.patience().pause_after(attempt)).await;
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn read(
        &self,
        mut response: Response,
        limit: usize,
        what: &str,
    ) -> Result<Document, RegistryError> {
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = media_type.map(|text| text.split(';').next().unwrap_or(text).trim().to_owned());
        let bytes = read_bounded(&mut response, limit, self.patience().silence).await;
        let bytes = bytes.map_err(|short| match short {
            Short::TooLong => RegistryError::Protocol {
                registry: self.name(),
                what: format!("{what} is longer than {limit} bytes"),
            },
            Short::Silent => RegistryError::Stalled {
                registry: self.name(),
                what: what.to_owned(),
                waited: self.patience().silence,
            },
            Short::Closed(got) => RegistryError::BrokeOff {
                registry: self.name(),
                what: what.to_owned(),
                got,
                expected: response.content_length().unwrap_or(0),
            },
        })?;
        Ok(Document { media_type, bytes })
    }

    /// One good answer: logs in where asked to, waits where asked to, and turns the rest into errors.
    async fn get(&self, path: &str, headers: HeaderMap) -> Result<Response, RegistryError> {
        let url = self.endpoint.url(&format!("{}/{path}", self.repository));
        let (mut logged_in, mut waits) = (false, 0);
        loop {
            let mut headers = headers.clone();
            if let Some(authorization) = self.authorization.lock().await.clone() {
                headers.insert(AUTHORIZATION, authorization);
            }
            let used = headers.get(AUTHORIZATION).cloned();
            let ask = Ask { url: &url, headers, form: None, lenient: self.endpoint.lenient };
            let response = self.connection.send(ask).await.map_err(|error| self.before_any_answer(error))?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if !logged_in => {
                    logged_in = true;
                    if !self.log_in(&response, used).await? {
                        return Err(self.refusal(response).await);
                    }
                }
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE if waits < 3 => {
                    waits += 1;
                    match retry_after(&response).filter(|pause| *pause <= self.patience().longest_pause) {
                        Some(pause) => tokio::time::sleep(pause).await,
                        None => return Err(self.refusal(response).await),
                    }
                }
                _ => return Err(self.refusal(response).await),
            }
        }
    }

    /// Docker begins with a request for `/v2/`, so that is the URL which people know from such errors.
    fn before_any_answer(&self, error: RegistryError) -> RegistryError {
        match error {
            RegistryError::Transport { fault, .. } => {
                RegistryError::Transport { url: self.endpoint.url("").to_string(), fault }
            }
            other => other,
        }
    }

    /// Does what the challenge asks for. `false` where there is nothing new to try.
    async fn log_in(&self, refused: &Response, used: Option<HeaderValue>) -> Result<bool, RegistryError> {
        let mut authorization = self.authorization.lock().await;
        if authorization.is_some() && *authorization != used {
            // Another request of this pull was faster.
            return Ok(true);
        }
        let headers = refused.headers().get_all(WWW_AUTHENTICATE).iter();
        let challenges: Vec<Challenge> =
            headers.filter_map(|value| challenge::parse(value.to_str().ok()?)).collect();
        if let Some(bearer) = challenges.iter().find(|challenge| challenge.scheme == "bearer") {
            let token = match &self.auth {
                RegistryAuth::RegistryToken(token) if used.is_none() => token.clone(),
                RegistryAuth::RegistryToken(_) => return Ok(false),
                _ => self.fetch_token(bearer).await?,
            };
            *authorization = Some(secret(&format!("Bearer {token}"))?);
            return Ok(true);
        }
        if used.is_none()
            && challenges.iter().any(|challenge| challenge.scheme == "basic")
            && let RegistryAuth::Basic { username, password } = &self.auth
        {
            *authorization = Some(basic(username, password)?);
            return Ok(true);
        }
        Ok(false)
    }

    /// The distribution project's "Token Authentication": a GET, or a POST of OAuth 2 for identity tokens.
    async fn fetch_token(&self, challenge: &Challenge) -> Result<String, RegistryError> {
        let realm = challenge.parameters.get("realm").and_then(|realm| Url::parse(realm).ok());
        let Some(mut realm) = realm.filter(|realm| matches!(realm.scheme(), "http" | "https")) else {
            return Err(protocol(&self.endpoint.base, "it asks for a login but not where"));
        };
        let plain_to = host_of(realm.host_str().unwrap_or_default()).to_owned();
        let registry_host = self.endpoint.base.host_str().unwrap_or_default();
        if realm.scheme() == "http"
            && !(self.endpoint.lenient && plain_to == registry_host)
            && self.auth != RegistryAuth::Anonymous
        {
            return Err(protocol(&self.endpoint.base, "it asks for the password over plain HTTP"));
        }
        let scope = challenge.parameters.get("scope").cloned();
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let service = challenge.parameters.get("service").cloned();
        let mut headers = HeaderMap::new();
        let mut form = None;
        if let RegistryAuth::IdentityToken(token) = &self.auth {
            let mut fields = url::form_urlencoded::Serializer::new(String::new());
            fields.extend_pairs([
                ("grant_type", "refresh_token"),
                ("refresh_token", token),
                ("client_id", "holm"),
            ]);
            fields
                .append_pair("scope", &scope)
                .append_pair("service", service.as_deref().unwrap_or_default());
            form = Some(fields.finish());
        } else {
            let mut query = realm.query_pairs_mut();
            query.append_pair("scope", &scope);
            if let Some(service) = &service {
                query.append_pair("service", service);
            }
            drop(query);
            if let RegistryAuth::Basic { username, password } = &self.auth {
                headers.insert(AUTHORIZATION, basic(username, password)?);
            }
        }
        let ask = Ask { url: &realm, headers, form, lenient: self.endpoint.lenient };
        let mut response = self.connection.send(ask).await?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        #[derive(Deserialize)]
        struct Granted {
            token: Option<String>,
            access_token: Option<String>,
        }
        let bytes = read_bounded(&mut response, LONGEST_WORD, self.patience().silence).await.ok();
        let granted = bytes.and_then(|bytes| serde_json::from_slice::<Granted>(&bytes).ok());
        let token = granted.and_then(|granted| granted.token.or(granted.access_token));
        token
            .filter(|token| !token.is_empty())
            .ok_or_else(|| protocol(&realm, "it grants a login without token"))
    }

    /// Reads a registry's refusal.
    async fn refusal(&self, mut response: Response) -> RegistryError {
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
fn told(body: &[u8]) -> Option<(String, String)> {
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

fn retry_after(response: &Response) -> Option<Duration> {
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

fn blob_unknown(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { code, .. } if code == "BLOB_UNKNOWN" => RegistryError::BlobUnknown,
        RegistryError::Status { status, .. } if status.starts_with("404") => RegistryError::BlobUnknown,
        other => other,
    }
}

fn basic(username: &str, password: &str) -> Result<HeaderValue, RegistryError> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
}

fn secret(text: &str) -> Result<HeaderValue, RegistryError> {
    let value = HeaderValue::from_str(text);
    let mut value =
        value.map_err(|_| RegistryError::Settings("the login has letters that no header has".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why a body was not read to its end.
enum Short {
    TooLong,
    Silent,
    Closed(u64),
}

async fn read_bounded(response: &mut Response, limit: usize, silence: Duration) -> Result<Vec<u8>, Short> {
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(silence, response.chunk()).await {
            Err(_) => return Err(Short::Silent),
            Ok(Err(_)) => return Err(Short::Closed(bytes.len() as u64)),
            Ok(Ok(None)) => return Ok(bytes),
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() > limit => {
                drop(chunk);
                return Err(Short::TooLong);
            }
            Ok(Ok(Some(chunk))) => bytes.extend_from_slice(&chunk),
        }
    }
}
