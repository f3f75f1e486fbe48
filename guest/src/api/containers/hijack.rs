//! Connections that stop being HTTP: with `Upgrade: tcp` the client gets 101 and the connection is both sides'
//! own from there on.

use std::future::Future;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::ext::ReasonPhrase;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

/// Whether the client asks to leave HTTP.
pub(super) fn is_wanted(request: &Request) -> bool {
    request.headers().contains_key(UPGRADE)
}

/// Answers 101, and runs `then` with the connection when the answer is sent.
pub(super) fn switch<F, T>(request: Request, content_type: &'static str, then: F) -> Response
where
    F: FnOnce(TokioIo<Upgraded>) -> T + Send + 'static,
    T: Future<Output = ()> + Send,
{
    let upgrade = hyper::upgrade::on(request);
    // Ends with the connection, which this task owns.
    tokio::spawn(async move {
        match upgrade.await {
            Ok(connection) => then(TokioIo::new(connection)).await,
            Err(error) => tracing::debug!("a client went away before it was attached: {error}"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
    response
}
