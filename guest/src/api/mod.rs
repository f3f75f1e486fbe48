//! The Engine API: routes, bodies and status codes. A handler translates, and that is all.
//!
//! ```text
//!   server ── version ──► router ──► a handler ──► Engine
//!                                     │ error.rs: EngineError → status and {"message"}
//!                                     └ reply.rs: JSON, nothing, or a stream
//! ```

mod absent;
mod auth;
mod body;
mod check;
mod commit;
mod containers;
mod diagnosis;
mod distribution;
mod error;
mod events;
mod exec;
mod filters;
mod foreign;
mod hijack;
mod images;
mod info;
mod networks;
mod query;
mod reply;
mod server;
mod system;
mod until;
mod version;
mod volumes;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::engine::Engine;
use error::ApiError;

pub(crate) use server::{serve_host, serve_unix};

/// Every route, without the version in front.
pub(crate) fn router(engine: Arc<Engine>) -> Router {
    routes().with_state(engine)
}

/// The same for whoever can reach a TCP port of the user's computer: every web page can, through the browser.
pub(crate) fn open_router(engine: Arc<Engine>) -> Router {
    router(engine).layer(axum::middleware::from_fn(foreign::refuse))
}

fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(system::ping))
        .route("/version", get(system::version))
        .route("/auth", post(auth::log_in))
        .route("/distribution/{*name}", get(distribution::inspect))
        .route("/info", get(info::info))
        .route("/events", get(events::events))
        .route("/commit", axum::routing::post(commit::commit))
        .route(holm_api::check::PATH, get(check::check))
        .route(holm_api::diagnosis::PATH, get(diagnosis::diagnosis))
        .route("/system/df", get(info::disk_usage))
        .route("/build/prune", post(system::prune_builds))
        .merge(containers::router())
        .merge(exec::router())
        .merge(images::router())
        .merge(networks::router())
        .merge(volumes::router())
        .merge(absent::router())
        .fallback(async || ApiError::page_not_found())
        // moby does not tell a wrong method from a wrong path.
        .method_not_allowed_fallback(async || ApiError::page_not_found())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_routes_claim_the_same_path() {
        // axum panics where they do.
        assert!(routes().has_routes());
    }
}
