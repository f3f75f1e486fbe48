//! Start, stop, restart, kill, pause, unpause, remove, wait, resize.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::find;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::{AnonymousVolumes, Engine, Start, Stop, StopWish, WaitFor, Waited, parse_signal};
use crate::shim::protocol::WindowSize;

type Shared = State<Arc<Engine>>;

/// `POST /containers/{name}/start`
pub(super) async fn start(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    if query.text("checkpoint").is_some() {
        return Err(ApiError::invalid("checkpoint is only supported in experimental mode"));
    }
    Ok(reply::empty(match find(&engine, &name)?.start().await? {
        Start::Now => StatusCode::NO_CONTENT,
        Start::AlreadyRunning => StatusCode::NOT_MODIFIED,
    }))
}

/// `POST /containers/{name}/stop`
pub(super) async fn stop(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let stopped = engine.stop(&container, stop_wish(version, &query)?).await;
    let stopped = stopped
        .map_err(|error| ApiError::from(error).while_doing(&format!("cannot stop container: {name}")))?;
    Ok(reply::empty(match stopped {
        Stop::Now => StatusCode::NO_CONTENT,
        Stop::AlreadyStopped => StatusCode::NOT_MODIFIED,
    }))
}

/// `POST /containers/{name}/restart`
pub(super) async fn restart(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let restarted = engine.restart(&container, stop_wish(version, &query)?).await;
    restarted
        .map_err(|error| ApiError::from(error).while_doing(&format!("Cannot restart container {name}")))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn stop_wish(version: ApiVersion, query: &Query) -> Result<StopWish, ApiError> {
    // Older clients could not name a signal, so what they call `signal` is something else.
    let signal = query.text("signal").filter(|_| version >= ApiVersion::one(42));
    Ok(StopWish { signal: signal.map(parse_signal).transpose()?, timeout: query.number("t")? })
}

/// `POST /containers/{name}/kill`
pub(super) async fn kill(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let doing = format!("cannot kill container: {name}");
    let killed = async {
        let signal = parse_signal(query.text("signal").unwrap_or("KILL"))?;
        let container = find(&engine, &name)?;
        Ok::<_, ApiError>(engine.kill(&container, signal).await?)
    };
    killed.await.map_err(|error| error.while_doing(&doing))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/pause`
pub(super) async fn pause(State(engine): Shared, Path(name): Path<String>) -> Result<Response, ApiError> {
    find(&engine, &name)?.pause().await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/unpause`
pub(super) async fn unpause(State(engine): Shared, Path(name): Path<String>) -> Result<Response, ApiError> {
    find(&engine, &name)?.unpause().await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `DELETE /containers/{name}`
pub(super) async fn remove(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    if query.flag("link") {
        return Err(ApiError::not_yet("remove a link alone"));
    }
    let anonymous = if query.flag("v") { AnonymousVolumes::Remove } else { AnonymousVolumes::Keep };
    let removed = engine.remove(&container, query.flag("force"), anonymous).await;
    removed
        .map_err(|error| ApiError::from(error).while_doing(&format!("cannot remove container {name:?}")))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/wait`
pub(super) async fn wait(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    // Before 1.30 there were no conditions, and no headers before the end.
    let legacy = version < ApiVersion::one(30);
    let what = match query.text("condition").filter(|_| !legacy) {
        None | Some("not-running") => WaitFor::NotRunning,
        Some("next-exit") => WaitFor::NextExit,
        Some("removed") => WaitFor::Removed,
        Some(other) => return Err(ApiError::invalid(format!("invalid condition: {other:?}"))),
    };
    let waited = find(&engine, &name)?.wait(what);
    if legacy {
        return Ok(reply::json(StatusCode::OK, &wait_body(&waited.await)));
    }
    Ok(reply::streaming("application/json", async move |pieces| {
        pieces.send_json(&wait_body(&waited.await)).await
    }))
}

fn wait_body(waited: &Waited) -> serde_json::Value {
    match &waited.error {
        None => json!({ "StatusCode": waited.code }),
        Some(message) => json!({ "StatusCode": waited.code, "Error": { "Message": message } }),
    }
}

/// `POST /containers/{name}/resize`
pub(super) async fn resize(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let rows = side(&query, "h", "height")?;
    let columns = side(&query, "w", "width")?;
    let container = find(&engine, &name)?;
    container.resize(WindowSize { rows, columns }).await?;
    let size = [("height", rows.to_string()), ("width", columns.to_string())];
    engine.tell_container(&container.definition(), "resize", size);
    Ok(StatusCode::OK.into_response())
}

/// The kernel keeps 16 bits of each.
pub(in crate::api) fn side(query: &Query, key: &str, what: &str) -> Result<u16, ApiError> {
    let text = query.text(key).unwrap_or_default();
    let size: u32 = text.parse().map_err(|_| ApiError::invalid(format!("invalid resize {what} {text:?}")))?;
    Ok(u16::try_from(size).unwrap_or(u16::MAX))
}
