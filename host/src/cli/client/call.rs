//! A request to the Engine API before it is sent.

use std::io;

use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use hyper::{Method, Request, header};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

use super::Body;
use crate::cli::credentials::Login;
use crate::cli::error::CliError;

/// One request: method, path, query, headers, body.
pub(crate) struct Call {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    content: Content,
}

/// What a request carries.
enum Content {
    Nothing,
    Json(Vec<u8>),
    /// A tar archive, in the parts in which it is made.
    Archive(Receiver<io::Result<Bytes>>),
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: String::new(),
            headers: Vec::new(),
            content: Content::Nothing,
        }
    }

    /// `GET`. Parts of `path` that a user typed go through [`escape`] first.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `HEAD`.
    pub(crate) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// `PUT`.
    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `POST`.
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// `DELETE`.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Adds one parameter.
    pub(crate) fn query(mut self, name: &str, value: impl AsRef<str>) -> Self {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        self.query.push_str(name);
        self.query.push('=');
        self.query.push_str(&escape(value.as_ref()));
        self
    }

    /// Adds `name=1` where the flag is set.
    pub(crate) fn flag(self, name: &str, set: bool) -> Self {
        if set { self.query(name, "1") } else { self }
    }

    /// Adds a parameter where it has a value.
    pub(crate) fn option(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Adds the login for a registry.
    pub(crate) fn login(mut self, login: &Login) -> Self {
        self.headers.push(("x-registry-auth", login.header()));
        self
    }

    /// The body, as JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, CliError> {
        let bytes = serde_json::to_vec(body).map_err(|error| CliError::Transport(Box::new(error)))?;
        self.content = Content::Json(bytes);
        Ok(self)
    }

    /// The body, as a tar archive that is sent while it is made. An error in it breaks the request off.
    pub(crate) fn archive(mut self, parts: Receiver<io::Result<Bytes>>) -> Self {
        self.content = Content::Archive(parts);
        self
    }

    /// Asks the daemon to turn the connection into a raw stream.
    pub(crate) fn upgrade(mut self) -> Self {
        self.headers.push(("connection", "Upgrade".to_owned()));
        self.headers.push(("upgrade", "tcp".to_owned()));
        self
    }

    pub(super) fn into_request(self, version: Option<&str>) -> Result<Request<Body>, CliError> {
        let mut uri = match version {
            Some(version) => format!("/v{version}{}", self.path),
            None => self.path,
        };
        if !self.query.is_empty() {
            uri.push('?');
            uri.push_str(&self.query);
        }
        let mut request = Request::builder()
            .method(self.method)
            .uri(uri)
            // HTTP/1.1 wants one; a socket has none. The same as Docker's client sends.
            .header(header::HOST, "api.moby.localhost")
            .header(header::USER_AGENT, concat!("holm/", env!("CARGO_PKG_VERSION")));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let whole = |bytes: Vec<u8>| Full::from(bytes).map_err(|never| match never {}).boxed_unsync();
        let (kind, body) = match self.content {
            Content::Nothing => (None, whole(Vec::new())),
            Content::Json(bytes) => (Some("application/json"), whole(bytes)),
            Content::Archive(parts) => {
                let frames = stream::unfold(parts, async |mut parts| {
                    let part = parts.recv().await?;
                    Some((part.map(Frame::data), parts))
                });
                (Some("application/x-tar"), StreamBody::new(frames).boxed_unsync())
            }
        };
        if let Some(kind) = kind {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        request.body(body).map_err(|error| CliError::Transport(Box::new(error)))
    }
}

/// Percent-encodes what a user typed, so that it stays one segment of a path or one value of a query.
/// Slashes and colons stay as they are, because image names have them and the daemon takes the rest of the
/// path as the name.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' | b':' | b'@' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_typed_cannot_leave_its_place_in_the_address() {
        assert_eq!(escape("a b?x=1&y#z%"), "a%20b%3Fx%3D1%26y%23z%25");
        assert_eq!(escape("localhost:5000/a@sha256:0f"), "localhost:5000/a@sha256:0f");
    }

    #[test]
    fn the_version_leads_the_path_and_the_query_follows() {
        let call = Call::get("/containers/json").flag("all", true).flag("size", false).query("limit", "3");
        let request = call.into_request(Some("1.51")).unwrap();
        assert_eq!(request.uri(), "/v1.51/containers/json?all=1&limit=3");
    }
}
