//! `GET /distribution/{name}/json`: what a registry has under a name, without pulling it.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use holm_api::{ParseReferenceError, Reference};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::api::auth;
use crate::api::error::ApiError;
use crate::api::reply;
use crate::engine::{Engine, EngineError};

/// `GET /distribution/{name}/json`
pub(crate) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(rest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(name) = rest.strip_suffix("/json") else { return Err(ApiError::page_not_found()) };
    let reference: Reference =
        name.parse().map_err(|error: ParseReferenceError| ApiError::invalid(error.to_string()))?;
    let remote = engine.images().remote(&reference.or_latest(), &auth::sent_along(&headers)).await;
    let remote = remote.map_err(EngineError::from)?;
    let answer = json!({
        "Descriptor": {
            "mediaType": remote.media_type,
            "digest": remote.digest.to_string(),
            "size": remote.size,
        },
        "Platforms": remote.platforms,
    });
    Ok(reply::json(StatusCode::OK, &answer))
}
