//! `/_ping` and `/version`: what a client asks before anything else.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA};
use http::{HeaderName, Method, StatusCode};
use serde_json::{Value, json};

use crate::api::reply;
use crate::engine::Engine;

/// `GET` and `HEAD /_ping`
pub(crate) async fn ping(method: Method) -> Response {
    let headers = [
        (CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
        (PRAGMA, "no-cache"),
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        // Without it the CLI asks for BuildKit, which is not here.
        (HeaderName::from_static("builder-version"), "1"),
        (HeaderName::from_static("swarm"), "inactive"),
    ];
    // moby tells no length of a body that it does not send.
    let body = if method == Method::HEAD { "" } else { "OK" };
    (headers, body).into_response()
}

/// `GET /version`
pub(crate) async fn version(State(engine): State<Arc<Engine>>) -> Response {
    reply::json(StatusCode::OK, &version_body(engine.machine().kernel()))
}

/// `POST /build/prune`: `docker system prune` asks for it. What has never been built has left nothing.
pub(crate) async fn prune_builds() -> Response {
    reply::json(StatusCode::OK, &json!({ "CachesDeleted": null, "SpaceReclaimed": 0 }))
}

/// Clients read the `Engine` component, older ones the fields beside it.
fn version_body(kernel: &str) -> Value {
    let commit = option_env!("HOLM_COMMIT").unwrap_or("unknown");
    let built = option_env!("HOLM_BUILD_TIME").unwrap_or("unknown");
    json!({
        "Platform": { "Name": "Holm" },
        "Components": [{
            "Name": "Engine",
            "Version": holm_api::VERSION,
            "Details": {
                "ApiVersion": holm_api::API_VERSION,
                "Arch": architecture(),
                "BuildTime": built,
                "Experimental": "false",
                "GitCommit": commit,
                "GoVersion": "none",
                "KernelVersion": kernel,
                "MinAPIVersion": holm_api::MIN_API_VERSION,
                "Os": "linux",
            },
        }],
        "Version": holm_api::VERSION,
        "ApiVersion": holm_api::API_VERSION,
        "MinAPIVersion": holm_api::MIN_API_VERSION,
        "GitCommit": commit,
        "GoVersion": "none",
        "Os": "linux",
        "Arch": architecture(),
        "KernelVersion": kernel,
        "BuildTime": built,
    })
}

/// As Go calls it, and with Go every client of this API.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
