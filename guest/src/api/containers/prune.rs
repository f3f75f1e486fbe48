//! `POST /containers/prune`

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use http::StatusCode;
use serde_json::json;

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::until::until;
use crate::engine::Engine;

const FILTERS: [&str; 3] = ["label", "label!", "until"];

/// `POST /containers/prune`
pub(super) async fn prune(State(engine): State<Arc<Engine>>, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &FILTERS)?;
    let until = until(&filters, Utc::now())?;
    let none = HashMap::new();
    let pruned = engine
        .prune_containers(|definition| {
            let labels = definition.config.labels.as_ref().unwrap_or(&none);
            until.is_none_or(|until| definition.created <= until)
                && filters.labelled("label", labels)
                && !(filters.has("label!") && filters.labelled("label!", labels))
        })
        .await?;
    let removed = (!pruned.removed.is_empty()).then_some(pruned.removed);
    let body = json!({ "ContainersDeleted": removed, "SpaceReclaimed": pruned.reclaimed });
    Ok(reply::json(StatusCode::OK, &body))
}
