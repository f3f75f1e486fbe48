//! One repository at one endpoint, as one user: requests with the login they need, repeated where that may help.

use std::sync::Arc;
use std::time::Duration;

use holm_api::Digest;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode, Url};
use tokio::sync::Mutex;

use super::connection::{Ask, Connection};
use super::content::Content;
use super::refusal::{blob_unknown, is_passing, retry_after};
use super::{Endpoint, RegistryError};
use crate::image::settings::RegistryAuth;

/// Manifests that are understood, those of schema 1 too, so that a registry sends one and it can be refused.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What is to be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

/// A repository, and how to get at it.
pub(crate) struct Session {
    pub(super) connection: Arc<Connection>,
    pub(super) endpoint: Endpoint,
    pub(super) repository: String,
    pub(super) access: Access,
    pub(super) auth: RegistryAuth,
    /// What goes into `Authorization`, once a challenge told.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
}

/// One request, before it is known what login it needs.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) content: Content,
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
        access: Access,
        auth: RegistryAuth,
    ) -> Self {
        // A mirror is not the registry that the user logged in to.
        let auth = if endpoint.mirror { RegistryAuth::Anonymous } else { auth };
        Self {
            connection,
            endpoint,
            repository: repository.to_owned(),
            access,
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

    /// Whether anybody speaks there at all. What they say does not matter.
    pub(crate) async fn ping(&self) -> Result<(), RegistryError> {
        self.connection.ask(&self.endpoint).await
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

    pub(super) async fn read(
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

    /// One good answer to a `GET` in this repository.
    async fn get(&self, path: &str, headers: HeaderMap) -> Result<Response, RegistryError> {
        self.request(Request { method: Method::GET, url: self.url(path), headers, content: Content::Nothing })
            .await
    }

    /// The URL of something in this repository.
    pub(super) fn url(&self, path: &str) -> Url {
        self.endpoint.url(&format!("{}/{path}", self.repository))
    }

    /// One good answer: logs in where asked to, waits where asked to, and turns the rest into errors.
    pub(super) async fn request(&self, request: Request) -> Result<Response, RegistryError> {
        let Request { method, url, headers, content } = request;
        // An upload may have its place elsewhere, which has no business with our token.
        let at_home = url.origin() == self.endpoint.base.origin();
        let (mut logged_in, mut waits) = (false, 0);
        loop {
            let mut headers = headers.clone();
            if at_home && let Some(authorization) = self.authorization.lock().await.clone() {
                headers.insert(AUTHORIZATION, authorization);
            }
            let used = headers.get(AUTHORIZATION).cloned();
            let (method, content) = (method.clone(), content.clone());
            let ask = Ask { method, url: &url, headers, content, endpoint: &self.endpoint };
            let response = self.connection.send(ask).await.map_err(|error| self.before_any_answer(error))?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if at_home && !logged_in => {
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
            RegistryError::Transport { method: "Get" | "Head", fault, .. } => {
                RegistryError::Transport { method: "Get", url: self.endpoint.url("").to_string(), fault }
            }
            other => other,
        }
    }
}

/// Why a body was not read to its end.
pub(super) enum Short {
    TooLong,
    Silent,
    Closed(u64),
}

pub(super) async fn read_bounded(
    response: &mut Response,
    limit: usize,
    silence: Duration,
) -> Result<Vec<u8>, Short> {
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
