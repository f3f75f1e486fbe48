//! `GET`, `HEAD` and `PUT /containers/{name}/archive`, `GET /containers/{name}/export` and `/changes`: files of a
//! container.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::find;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::{CLIENT_DEADLINE, Container, Engine, EngineError, State as Stage};
use crate::files::protocol::{Job, PathStat};

type Shared = State<Arc<Engine>>;

const STAT: HeaderName = HeaderName::from_static("x-docker-container-path-stat");
const TAR: &str = "application/x-tar";

/// `GET /containers/{name}/archive`
pub(super) async fn get(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let path = path_of(&query)?;
    let container = find(&engine, &name)?;
    let mut files = engine.files(&container, Job::Get(path.to_owned())).await?;
    let found = files.found().await.map_err(|error| error.about(path, &name))?;
    let pieces = files.into_pieces(told(&engine, &container, "archive-path"));
    with_stat(reply::content(TAR, pieces), &found)
}

/// `HEAD /containers/{name}/archive`
pub(super) async fn head(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let path = path_of(&query)?;
    let container = find(&engine, &name)?;
    let mut files = engine.files(&container, Job::Stat(path.to_owned())).await?;
    let found = files.found().await.map_err(|error| error.about(path, &name))?;
    with_stat(reply::empty(StatusCode::OK), &found)
}

/// `PUT /containers/{name}/archive`
pub(super) async fn put(
    State(engine): Shared,
    Path(name): Path<String>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let path = path_of(&query)?;
    let container = find(&engine, &name)?;
    let job = Job::Put {
        path: path.to_owned(),
        replaces: !query.flag("noOverwriteDirNonDir"),
        owner: query
            .flag("copyUIDGID")
            .then(|| container.definition().config.user.clone().unwrap_or_default()),
    };
    let mut files = engine.files(&container, job).await?;
    let mut body = request.into_body();
    loop {
        let stalled = |_| ApiError::invalid("the request body stopped coming");
        let Some(frame) = timeout(CLIENT_DEADLINE, body.frame()).await.map_err(stalled)? else { break };
        let frame =
            frame.map_err(|error| ApiError::invalid(format!("cannot read the request body: {error}")))?;
        let Ok(bytes) = frame.into_data() else { continue };
        if !files.send(&bytes).await.map_err(EngineError::from)? {
            break;
        }
    }
    files.unpacked().await.map_err(|error| error.about(path, &name))?;
    engine.tell_container(&container.definition(), "extract-to-dir", []);
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /containers/{name}/export`
pub(super) async fn export(State(engine): Shared, Path(name): Path<String>) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let id = container.id().clone();
    match container.status().life.state {
        Stage::Dead => {
            let text = format!("You cannot export container {id} which is Dead");
            return Err(ApiError::new(StatusCode::CONFLICT, text));
        }
        Stage::Removing | Stage::Removed => {
            let text = format!("You cannot export container {id} which is being removed");
            return Err(ApiError::new(StatusCode::CONFLICT, text));
        }
        _ => {}
    }
    let failed =
        |error: EngineError| ApiError::from(error).while_doing(&format!("Error exporting container {name}"));
    let mut files = engine.files(&container, Job::Export).await.map_err(failed)?;
    files.begun().await.map_err(|error| failed(error.into()))?;
    let pieces = files.into_pieces(told(&engine, &container, "export"));
    Ok(reply::content("application/octet-stream", pieces))
}

/// `GET /containers/{name}/changes`
pub(super) async fn changes(State(engine): Shared, Path(name): Path<String>) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let mut files = engine.files(&container, Job::Changes).await?;
    files.begun().await.map_err(EngineError::from)?;
    Ok(reply::content("application/json", files.into_pieces(|| {})))
}

/// Tells an event, once all is sent.
fn told(
    engine: &Arc<Engine>,
    container: &Container,
    action: &'static str,
) -> impl FnOnce() + Send + 'static + use<> {
    let (engine, definition) = (engine.clone(), container.definition());
    move || engine.tell_container(&definition, action, [])
}

/// moby's words have no blank there either.
fn path_of(query: &Query) -> Result<&str, ApiError> {
    query.text("path").ok_or_else(|| ApiError::invalid("bad parameter: pathcannot be empty"))
}

fn with_stat(mut response: Response, stat: &PathStat) -> Result<Response, ApiError> {
    let failed = |error: &dyn std::fmt::Display| {
        ApiError::from(EngineError::Internal(format!("cannot describe a file: {error}")))
    };
    let json = serde_json::to_vec(stat).map_err(|error| failed(&error))?;
    let value = HeaderValue::from_str(&STANDARD.encode(json)).map_err(|error| failed(&error))?;
    response.headers_mut().insert(STAT, value);
    Ok(response)
}
