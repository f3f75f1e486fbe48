//! Bodies of requests: bounded, JSON, and as lenient as Go's decoder where clients count on it.

use std::io;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::api::error::ApiError;
use crate::engine::CLIENT_DEADLINE;
use crate::image::Pieces;

/// Bytes of the largest JSON body; the largest real ones have some dozens of KiB.
const LONGEST: usize = 4 << 20;

/// Pieces of a body that its reader may be behind.
const AHEAD: usize = 16;

/// Reads a body that has to be a JSON object, or `null`.
pub(crate) async fn read_json(request: Request) -> Result<Value, ApiError> {
    let (parts, body) = request.into_parts();
    check_content_type(&parts.headers)?;
    parse(&read(body).await?)
}

/// Likewise, where no body is fine.
pub(crate) async fn read_json_or_nothing(request: Request) -> Result<Option<Value>, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = read(body).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    check_content_type(&parts.headers)?;
    parse(&bytes).map(Some)
}

async fn read(body: Body) -> Result<Vec<u8>, ApiError> {
    match Limited::new(body, LONGEST).collect().await {
        Ok(body) => Ok(body.to_bytes().into()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("request body is larger than {LONGEST} bytes"),
        )),
        Err(error) => Err(ApiError::invalid(format!("cannot read the request body: {error}"))),
    }
}

/// A body of any length, to be read where that may block. The task reads the body to its end even where nobody
/// wants it any more, so that a client that still sends gets to read why.
pub(crate) fn pieces(request: Request) -> (Pieces, AbortOnDropHandle<()>) {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let task = tokio::spawn(async move {
        let mut body = request.into_body();
        let mut wanted = true;
        loop {
            let piece = match timeout(CLIENT_DEADLINE, body.frame()).await {
                Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the request body stopped coming")),
                Ok(None) => Ok(Bytes::new()),
                Ok(Some(Err(error))) => {
                    Err(io::Error::other(format!("cannot read the request body: {error}")))
                }
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => Ok(data),
                    _ => continue,
                },
            };
            let is_last = piece.as_ref().is_ok_and(Bytes::is_empty) || piece.is_err();
            wanted = wanted && sender.send(piece).await.is_ok();
            if is_last {
                return;
            }
        }
    });
    (Pieces::new(receiver), AbortOnDropHandle::new(task))
}

fn parse(bytes: &[u8]) -> Result<Value, ApiError> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::invalid("invalid JSON: got EOF while reading request body"));
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    match (values.next(), values.next()) {
        // To Go, `null` is an object without fields. Our decoder would take an array for one as well.
        (Some(Ok(value @ (Value::Object(_) | Value::Null))), None) => Ok(value),
        (Some(Ok(value)), None) => Err(ApiError::invalid(format!(
            "invalid JSON: json: cannot unmarshal {} into an object",
            kind(&value)
        ))),
        (Some(Ok(_)), Some(_)) => Err(ApiError::invalid("unexpected content after JSON")),
        (Some(Err(error)), _) => Err(ApiError::invalid(format!("invalid JSON: {error}"))),
        (None, _) => Err(ApiError::invalid("invalid JSON: got EOF while reading request body")),
    }
}

/// As Go's decoder calls it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    let kind = given.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    if kind.is_empty() {
        return Err(ApiError::invalid("malformed Content-Type header (): mime: no media type"));
    }
    Err(ApiError::invalid(format!("unsupported Content-Type header ({given}): must be 'application/json'")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().into_parts().1
    }

    #[test]
    fn a_body_is_one_json_value() {
        assert_eq!(parse(b" {\"a\": 1}\n").unwrap()["a"], 1);
        assert_eq!(refused(b""), "invalid JSON: got EOF while reading request body");
        assert_eq!(refused(b"{} {}"), "unexpected content after JSON");
        assert!(refused(b"{").starts_with("invalid JSON: "));
        assert_eq!(refused(b"[]"), "invalid JSON: json: cannot unmarshal array into an object");
    }

    #[test]
    fn another_content_type_is_refused_in_mobys_words() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json; charset=utf-8".parse().unwrap());
        check_content_type(&headers).unwrap();
        headers.insert(CONTENT_TYPE, "text/plain".parse().unwrap());
        assert_eq!(
            check_content_type(&headers).unwrap_err().into_parts().1,
            "unsupported Content-Type header (text/plain): must be 'application/json'"
        );
    }
}
