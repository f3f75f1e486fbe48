//! `GET /containers/{name}/top`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::find;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::Engine;

/// `GET /containers/{name}/top`
pub(super) async fn top(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let top = engine.top(&container, query.text("ps_args").unwrap_or_default()).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "Titles": top.titles, "Processes": top.processes })))
}
