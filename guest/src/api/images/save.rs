//! `GET /images/get` and `GET /images/{name}/get`: images as an archive. It begins only when all that it will hold is
//! found, so that what is not there has a status of its own.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;

use super::wanted_platform;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::Engine;

/// `GET /images/get`
pub(super) async fn save(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let names: Vec<String> = query.all("names").map(str::to_owned).collect();
    these(&engine, names, version, &query).await
}

/// The images of these names.
pub(super) async fn these(
    engine: &Engine,
    names: Vec<String>,
    version: ApiVersion,
    query: &Query,
) -> Result<Response, ApiError> {
    let platform = wanted_platform(query, version)?;
    let archive = engine.save_images(names, platform).await?;
    Ok(reply::content("application/x-tar", archive))
}
