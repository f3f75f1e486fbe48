//! A request to the Engine API before it is sent.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Method, Request, header};
use serde::Serialize;

use crate::cli::error::CliError;

/// One request: method, path, query, headers, body.
pub(crate) struct Call {
    method: Method,
    path: String,
    query: String,
    headers: Vec<(&'static str, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: String::new(), headers: Vec::new(), body: None }
    }

    /// `GET`. Parts of `path` that a user typed go through [`escape`] first.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// `HEAD`.
    pub(crate) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
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

    /// The body, as JSON.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, CliError> {
        let bytes = serde_json::to_vec(body).map_err(|error| CliError::Transport(Box::new(error)))?;
        self.body = Some(bytes);
        Ok(self)
    }

    /// Asks the daemon to turn the connection into a raw stream.
    pub(crate) fn upgrade(mut self) -> Self {
        self.headers.push(("connection", "Upgrade".to_owned()));
        self.headers.push(("upgrade", "tcp".to_owned()));
        self
    }

    pub(super) fn into_request(self, version: Option<&str>) -> Result<Request<Full<Bytes>>, CliError> {
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
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request
            .body(Full::from(self.body.unwrap_or_default()))
            .map_err(|error| CliError::Transport(Box::new(error)))
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
