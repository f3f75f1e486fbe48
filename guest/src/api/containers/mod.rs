//! `/containers`: translated to the engine and back.

mod archive;
mod attach;
mod change;
mod create;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod places;
mod prune;
mod shape;
mod stats;
mod top;

use std::sync::Arc;

use axum::Router;
use axum::routing::{delete, get, post};
use holm_api::ContainerRef;

use crate::api::error::ApiError;
use crate::engine::{Container, Engine};

pub(crate) use create::config_of;
pub(in crate::api) use create::without_nulls;
pub(super) use lifecycle::side;
pub(crate) use list::summaries;

/// All routes below `/containers`.
pub(crate) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/containers/json", get(list::list))
        .route("/containers/prune", post(prune::prune))
        .route("/containers/create", post(create::create))
        .route("/containers/{name}", delete(lifecycle::remove))
        .route("/containers/{name}/json", get(inspect::inspect))
        .route("/containers/{name}/logs", get(logs::logs))
        .route("/containers/{name}/archive", get(archive::get).head(archive::head).put(archive::put))
        .route("/containers/{name}/export", get(archive::export))
        .route("/containers/{name}/changes", get(archive::changes))
        .route("/containers/{name}/stats", get(stats::stats))
        .route("/containers/{name}/start", post(lifecycle::start))
        .route("/containers/{name}/stop", post(lifecycle::stop))
        .route("/containers/{name}/restart", post(lifecycle::restart))
        .route("/containers/{name}/kill", post(lifecycle::kill))
        .route("/containers/{name}/pause", post(lifecycle::pause))
        .route("/containers/{name}/unpause", post(lifecycle::unpause))
        .route("/containers/{name}/rename", post(change::rename))
        .route("/containers/{name}/update", post(change::update))
        .route("/containers/{name}/wait", post(lifecycle::wait))
        .route("/containers/{name}/resize", post(lifecycle::resize))
        .route("/containers/{name}/top", get(top::top))
        .route("/containers/{name}/attach", post(attach::attach))
        .route("/containers/{name}/attach/ws", get(attach::attach_websocket))
}

pub(super) fn find(engine: &Engine, name: &str) -> Result<Container, ApiError> {
    Ok(engine.find(&ContainerRef(name.to_owned()))?)
}
