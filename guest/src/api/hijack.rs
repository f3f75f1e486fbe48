//! Connections that stop being HTTP, with `Upgrade` or without: a handler takes the connection over, and both sides'
//! bytes are their own from there on.
//!
//! hyper gives connections away for `Upgrade` alone, and Docker's clients may also go on behind plain headers. So the
//! server looks, beside each connection, for a handler that wants it ([`Takeover`]), and then takes HTTP off it.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::UPGRADE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use crate::api::error::ApiError;

/// The type of a terminal's bytes, and of everything before 1.42.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";
/// The type of frames.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// What a connection can do when HTTP is off.
pub(crate) trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for T {}

/// A connection that is no longer HTTP's.
pub(crate) type Connection = Box<dyn Bytestream>;

/// What happens on a connection that was taken over.
pub(crate) struct Session {
    /// Is sent first: status line and headers.
    pub(crate) head: Bytes,
    /// Goes on from there.
    pub(crate) run: Box<dyn FnOnce(Connection) -> Running + Send>,
}

/// A session that goes on.
pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Is among the extensions of each request, and takes its connection.
#[derive(Clone)]
pub(crate) struct Takeover(Arc<Mutex<Option<oneshot::Sender<Session>>>>);

impl Takeover {
    /// For one connection; the session comes out of the receiver.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Session>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), receiver)
    }
}

/// How a client wants to leave HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By `Upgrade`, which is answered with 101.
    Upgrade,
    /// Behind plain headers.
    Plain,
}

impl Way {
    /// The one that a request asks for.
    pub(crate) fn of(request: &Request) -> Self {
        if request.headers().contains_key(UPGRADE) { Self::Upgrade } else { Self::Plain }
    }

    /// What is sent first: the words of moby.
    fn head(self, content_type: &str) -> String {
        match self {
            Self::Upgrade => format!(
                "HTTP/1.1 101 UPGRADED\r\nContent-Type: {content_type}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            ),
            Self::Plain => format!("HTTP/1.1 200 OK\r\nContent-Type: {RAW}\r\n"),
        }
    }
}

/// Answers in the client's `way` and runs `then` with the connection.
pub(crate) async fn switch<F, T>(
    takeover: &Takeover,
    way: Way,
    content_type: &str,
    then: F,
) -> Result<Response, ApiError>
where
    F: FnOnce(Connection) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let version = holm_api::API_VERSION;
    let common = format!(
        "Api-Version: {version}\r\nDocker-Experimental: false\r\nOstype: linux\r\nServer: Holm/{} (linux)\r\n",
        holm_api::VERSION
    );
    take_over(takeover, format!("{}{common}\r\n", way.head(content_type)), then).await
}

/// Sends `head` and runs `then` with the connection. Returns only where that is not possible: otherwise whoever called
/// the handler is gone, with HTTP.
pub(crate) async fn take_over<F, T>(takeover: &Takeover, head: String, then: F) -> Result<Response, ApiError>
where
    F: FnOnce(Connection) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let run = Box::new(|connection| Box::pin(then(connection)) as Running);
    // Taking it out leaves nothing half done.
    let sender = takeover.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    let session = Session { head: head.into(), run };
    match sender.map(|sender| sender.send(session)) {
        Some(Ok(())) => pending().await,
        _ => Err(ApiError::invalid("the connection is in use otherwise")),
    }
}
