//! Takes connections and hands their requests to the router: version off, standard headers on. A connection that a
//! handler takes over (`hijack`) leaves HTTP behind.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, SERVER};
use http::{HeaderValue, Request, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;

use crate::api::error::ApiError;
use crate::api::hijack::Takeover;
use crate::api::version::{self, ApiVersion};
use crate::transport::Listener;

/// As long as moby waits for a request's headers.
const HEADER_DEADLINE: Duration = Duration::from_secs(300);
/// Open connections; each costs some 20 KiB. Others wait in the kernel's backlog.
const CONNECTIONS: usize = 1024;

/// Serves connections of the host until dropped.
pub(crate) async fn serve_host(listener: Listener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(stream) => drop(tokio::spawn(serve_connection(stream, router.clone(), place))),
            Err(error) => pause_after(error).await,
        }
    }
}

/// Serves connections from inside the machine until dropped.
pub(crate) async fn serve_unix(listener: UnixListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, router.clone(), place))),
            Err(error) => pause_after(error).await,
        }
    }
}

/// Out of descriptors, most likely: going on at once would only burn a processor.
async fn pause_after(error: std::io::Error) {
    tracing::warn!("cannot take a connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn serve_connection<S>(stream: S, router: Router, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (takeover, mut taken) = Takeover::new();
    let service = service_fn(move |request| Box::pin(answer(router.clone(), takeover.clone(), request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_DEADLINE)
        .half_close(true)
        .title_case_headers(true)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let session = tokio::select! {
        // First of all, or HTTP could take what is the session's for another request.
        biased;
        Ok(session) = &mut taken => session,
        served = &mut connection => {
            if let Err(error) = served {
                // Clients go away in the middle of things all the time.
                tracing::debug!("a connection ended: {error}");
            }
            return;
        }
    };
    let Parts { io, read_buf, .. } = connection.into_parts();
    // Sessions last for days, and their number is not ours to limit.
    drop(place);
    let (reader, mut writer) = tokio::io::split(io.into_inner());
    if writer.write_all(&session.head).await.is_ok() {
        // What the client wrote right behind its headers comes first.
        let reader = std::io::Cursor::new(read_buf).chain(reader);
        (session.run)(Box::new(tokio::io::join(reader, writer))).await;
    }
}

/// One request: everything that all routes have in common.
async fn answer(
    router: Router,
    takeover: Takeover,
    request: Request<Incoming>,
) -> Result<Response, std::convert::Infallible> {
    let mut response = match unversioned(request) {
        Ok(mut request) => {
            request.extensions_mut().insert(takeover);
            let mut router = router;
            router.call(request).await?
        }
        Err(refused) => refused.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(SERVER, HeaderValue::from_static(concat!("Holm/", env!("CARGO_PKG_VERSION"), " (linux)")));
    headers.insert(HeaderName::from_static("api-version"), HeaderValue::from_static(holm_api::API_VERSION));
    headers.insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    Ok(response)
}

fn unversioned(request: Request<Incoming>) -> Result<Request<Body>, ApiError> {
    let (mut parts, body) = request.into_parts();
    let (version, target) = route(&parts.uri)?;
    parts.uri = target;
    parts.extensions.insert(version);
    Ok(Request::from_parts(parts, Body::new(body)))
}

/// What the router gets to see of a request's target.
fn route(target: &Uri) -> Result<(ApiVersion, Uri), ApiError> {
    let (version, path) = version::split(target.path())?;
    let target = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    Ok((version, target.parse().map_err(|_| ApiError::page_not_found())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_goes_and_the_query_stays() {
        let routed = |text: &str| route(&text.parse().unwrap()).map(|(_, target)| target.to_string());
        assert_eq!(routed("/v1.44/events?since=1").unwrap(), "/events?since=1");
        assert_eq!(routed("http://docker/_ping").unwrap(), "/_ping");
        assert_eq!(routed("*").unwrap(), "*", "which no route has");
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn whatever_target_is_one_is_routed_or_refused() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|bytes| {
            let mut target = b"/v1.44/".to_vec();
            target.extend_from_slice(bytes);
            for target in [bytes.as_slice(), &target] {
                if let Ok(target) = Uri::try_from(target) {
                    let _ = route(&target);
                }
            }
        });
    }
}
