//! The Engine API's answer: as one JSON value, as a stream of JSON values or bytes, or as a raw connection.

use bytes::{Buf, BytesMut};
use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::{Client, Sender, broken, collect};
use crate::cli::error::CliError;

/// Bytes of one JSON value in a stream. Progress and events are far smaller.
const LONGEST_VALUE: usize = 16 << 20;

/// An answer whose head has come and whose body has not.
pub(crate) struct Reply<'a> {
    pub(super) response: Response<Incoming>,
    pub(super) sender: Sender,
    pub(super) client: &'a Client,
}

impl Reply<'_> {
    /// A header's value, where it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All of the body.
    pub(crate) async fn bytes(self) -> Result<Bytes, CliError> {
        let bytes = collect(self.response.into_body()).await?;
        self.client.keep(self.sender).await;
        Ok(bytes)
    }

    /// The body as one JSON value.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, CliError> {
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| CliError::Transport(Box::new(error)))
    }

    /// The body as JSON values that come one after another.
    pub(crate) fn lines(self) -> JsonLines {
        JsonLines { body: self.response.into_body(), buffer: BytesMut::new() }
    }

    fn stream(self) -> Incoming {
        self.response.into_body()
    }

    /// The body as it comes, to be read from.
    pub(crate) fn reader(self) -> impl AsyncRead + Unpin + Send + 'static {
        let bytes = http_body_util::BodyDataStream::new(self.stream());
        StreamReader::new(TryStreamExt::map_err(bytes, std::io::Error::other))
    }

    /// The connection, after the daemon has agreed to an upgrade.
    pub(crate) async fn upgraded(self) -> Result<TokioIo<Upgraded>, CliError> {
        hyper::upgrade::on(self.response).await.map(TokioIo::new).map_err(broken)
    }

    /// Itself where the status says success, else the daemon's words.
    pub(super) async fn or_refusal(self) -> Result<Self, CliError> {
        let status = self.response.status().as_u16();
        if status < 400 {
            return Ok(self);
        }
        let json = self.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
        let body = self.bytes().await?;
        Err(CliError::Refused { status, message: refusal(status, json, &body) })
    }
}

/// What a body with an error status says.
fn refusal(status: u16, json: bool, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Words {
        #[serde(default)]
        message: String,
    }
    let name = http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
    let text = match serde_json::from_slice::<Words>(body) {
        Ok(words) if json => words.message,
        _ => String::from_utf8_lossy(body).into_owned(),
    };
    match text.trim() {
        "" => format!("API returned a {status} ({name}) but provided no error-message"),
        words => words.to_owned(),
    }
}

/// A body of JSON values, told apart by their own syntax: newlines between them are optional.
pub(crate) struct JsonLines {
    body: Incoming,
    buffer: BytesMut,
}

impl JsonLines {
    /// The next value as soon as it is complete, `None` at the end of the body.
    pub(crate) async fn next(&mut self) -> Result<Option<Value>, CliError> {
        loop {
            if let Some(value) = take_value(&mut self.buffer)? {
                return Ok(Some(value));
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame.map_err(broken)?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None if self.buffer.iter().all(u8::is_ascii_whitespace) => return Ok(None),
                None => return Err(CliError::Transport("the daemon's answer ends in the middle".into())),
            }
        }
    }
}

/// Removes the first complete value from the buffer, if there is one.
fn take_value(buffer: &mut BytesMut) -> Result<Option<Value>, CliError> {
    let mut values = serde_json::Deserializer::from_slice(buffer).into_iter::<Value>();
    let value = match values.next() {
        None => return Ok(None),
        Some(Err(error)) if error.is_eof() && buffer.len() <= LONGEST_VALUE => return Ok(None),
        Some(Err(error)) => return Err(CliError::Transport(Box::new(error))),
        Some(Ok(value)) => value,
    };
    let used = values.byte_offset();
    buffer.advance(used);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_apart_wherever_the_bytes_are_cut() {
        let text = "{\"a\":1}\r\n{\"b\":\"}{\"}{\"c\":[]}\n";
        for cut in 0..text.len() {
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            for part in [&text[..cut], &text[cut..]] {
                buffer.extend_from_slice(part.as_bytes());
                while let Some(value) = take_value(&mut buffer).unwrap() {
                    seen.push(value.to_string());
                }
            }
            assert_eq!(seen, ["{\"a\":1}", "{\"b\":\"}{\"}", "{\"c\":[]}"], "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error_and_not_a_longer_wait() {
        assert!(take_value(&mut BytesMut::from("nonsense")).is_err());
    }

    #[test]
    fn a_refusal_is_told_in_the_daemons_words() {
        assert_eq!(refusal(404, true, b"{\"message\":\"No such container: x\\n\"}"), "No such container: x");
        assert_eq!(refusal(502, false, b"bad gateway\n"), "bad gateway");
        assert_eq!(
            refusal(500, true, b"{}"),
            "API returned a 500 (Internal Server Error) but provided no error-message"
        );
    }
}
