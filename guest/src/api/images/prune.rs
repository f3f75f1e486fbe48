//! `POST /images/prune`

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use http::StatusCode;
use serde_json::json;

use super::removed_body;
use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::until::until;
use crate::engine::Engine;
use crate::image::Image;

const FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];

/// `POST /images/prune`
pub(super) async fn prune(State(engine): State<Arc<Engine>>, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &FILTERS)?;
    let named = filters.flag("dangling")? == Some(false);
    let until = until(&filters, Utc::now())?;
    let none = HashMap::new();
    let wanted = |image: &Image| {
        let labels = image.config().config.labels.as_ref().unwrap_or(&none);
        until.is_none_or(|until| image.created().is_some_and(|created| created <= until))
            && filters.labelled("label", labels)
            && !(filters.has("label!") && filters.labelled("label!", labels))
    };
    let (removed, reclaimed) = engine.prune_images(named, wanted).await?;
    let removed = (!removed.is_empty()).then(|| removed_body(removed));
    Ok(reply::json(StatusCode::OK, &json!({ "ImagesDeleted": removed, "SpaceReclaimed": reclaimed })))
}
