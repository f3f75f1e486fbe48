//! `POST /commit`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use holm_api::{ContainerRef, Reference};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::{body, reply};
use crate::engine::{CommitRequest, Engine};

/// `POST /commit`
pub(super) async fn commit(
    State(engine): State<Arc<Engine>>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let config = match body::read_json_or_nothing(request).await? {
        None | Some(Value::Null) => None,
        Some(value) => Some(super::containers::config_of(value)?),
    };
    let wish = CommitRequest {
        reference: reference(query.text("repo"), query.text("tag"))?,
        author: query.text("author").unwrap_or_default().to_owned(),
        comment: query.text("comment").unwrap_or_default().to_owned(),
        config,
        changes: query.all("changes").map(str::to_owned).collect(),
        pauses: query.flag_or("pause", true),
    };
    let name = query.text("container").unwrap_or_default();
    let container = engine.find(&ContainerRef(name.to_owned()))?;
    let id = engine.commit(&container, wish).await?;
    Ok(reply::json(StatusCode::CREATED, &json!({ "Id": id.to_string() })))
}

/// The name of a new image, which may have none.
pub(super) fn reference(repository: Option<&str>, tag: Option<&str>) -> Result<Option<Reference>, ApiError> {
    let Some(repository) = repository else { return Ok(None) };
    let named = super::images::tagged(repository, tag)?;
    if named.digest().is_some() {
        return Err(ApiError::invalid("cannot import digest reference"));
    }
    Ok(Some(named))
}
