//! The shapes of answers: JSON with Go's closing newline, nothing at all, and bodies that are written while
//! something happens.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Pieces a body may be ahead of its client. Each is a line of JSON or a log frame.
const PIECES: usize = 16;

/// `value` as JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = match json_line(value) {
        Ok(bytes) => Response::new(Body::from(bytes)),
        Err(error) => {
            tracing::error!("an answer cannot be written as JSON: {error}");
            return empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// One value on a line of its own.
pub(crate) fn json_line(value: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes.into())
}

/// Only a status.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// The client went away, so whoever writes may stop.
#[derive(Debug)]
pub(crate) struct Gone;

/// Writes the pieces of a body. Waits for a slow client, so that nothing piles up.
#[derive(Clone, Debug)]
pub(crate) struct Pieces(mpsc::Sender<Bytes>);

impl Pieces {
    /// Sends bytes as they are.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(bytes.into()).await.map_err(|_| Gone)
    }

    /// Sends a line of JSON.
    pub(crate) async fn send_json(&self, value: &impl Serialize) -> Result<(), Gone> {
        match json_line(value) {
            Ok(line) => self.send(line).await,
            Err(error) => {
                tracing::error!("a line of an answer cannot be written as JSON: {error}");
                Err(Gone)
            }
        }
    }
}

/// 200 at once, then what `write` sends. `write` is aborted when the client goes away.
pub(crate) fn streaming<F, W>(content_type: &'static str, write: F) -> Response
where
    F: FnOnce(Pieces) -> W,
    W: Future<Output = Result<(), Gone>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PIECES);
    let writer = AbortOnDropHandle::new(tokio::spawn(write(Pieces(sender))));
    let mut response = Response::new(Body::from_stream(Written { receiver, _writer: writer }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200 at once, then the bytes that come from `pieces`. An error in place of a piece breaks the answer off, so that
/// no client takes what it has for all there is.
pub(crate) fn content(content_type: &'static str, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Response {
    let pieces = futures_util::stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

struct Written {
    receiver: mpsc::Receiver<Bytes>,
    _writer: AbortOnDropHandle<Result<(), Gone>>,
}

impl Stream for Written {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_recv(cx).map(|piece| piece.map(Ok))
    }
}
