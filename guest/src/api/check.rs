//! `GET /holm/check`: whether the image store is whole, for `holm system check`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use crate::api::error::ApiError;
use crate::api::reply;
use crate::engine::{Engine, EngineError};

/// Takes no parameters, and changes nothing.
pub(super) async fn check(State(engine): State<Arc<Engine>>) -> Result<Response, ApiError> {
    let report = engine.images().check(engine.image_uses()).await;
    let report = report.map_err(EngineError::system("read the image store"))?;
    Ok(reply::json(StatusCode::OK, &report))
}
