//! `GET /events`: what happened since, and what happens until.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use chrono::Utc;
use tokio::time::{Instant, sleep_until};

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::{Engine, Event, Subject, Timestamp};

const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// `GET /events`
pub(super) async fn events(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let since = query.text("since").map(Timestamp::parse).transpose()?;
    let until = query.text("until").map(Timestamp::parse).transpose()?;
    if let (Some(since), Some(until)) = (since, until)
        && until < since
    {
        return Err(ApiError::invalid(format!(
            "`since` time ({}) cannot be after `until` time ({})",
            query.text("since").unwrap_or_default(),
            query.text("until").unwrap_or_default()
        )));
    }
    let filters = Filters::of(&query, &FILTERS)?;
    let included = move |event: &Event| {
        let new = event.subject == Subject::Image && event.action == "create";
        includes(&filters, event) && !(new && version < ApiVersion::one(46))
    };
    let subscription = engine.events().subscribe();
    Ok(reply::streaming("application/json", async move |pieces| {
        let (from, to) = (nanos(since).unwrap_or(0), nanos(until).unwrap_or(i64::MAX));
        let asked = since.is_some() || until.is_some();
        let past = subscription.past.iter().filter(|_| asked);
        for event in past.filter(|event| (from..=to).contains(&event.time_nano) && included(event)) {
            pieces.send_json(event.as_ref()).await?;
        }
        if until.is_some_and(|until| until.time() < Utc::now()) {
            return Ok(());
        }
        let mut live = subscription.live;
        let end = until.map(|until| Instant::now() + until.distance());
        loop {
            let event = tokio::select! {
                event = live.recv() => event,
                () = reached(end) => return Ok(()),
            };
            match event {
                Ok(event) if included(&event) => pieces.send_json(event.as_ref()).await?,
                Ok(_) => {}
                // The engine ends, or this client was too slow to be told everything.
                Err(_) => return Ok(()),
            }
        }
    }))
}

async fn reached(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn nanos(at: Option<Timestamp>) -> Option<i64> {
    at.map(|at| at.time().timestamp_nanos_opt().unwrap_or(i64::MAX))
}

/// moby's rules (`daemon/events/filter.go`).
fn includes(filters: &Filters, event: &Event) -> bool {
    let actor = &event.actor;
    let name = actor.attributes.get("name").map_or("", String::as_str);
    let kind = match event.subject {
        Subject::Container => "container",
        Subject::Image => "image",
        Subject::Network => "network",
        Subject::Volume => "volume",
    };
    // A filter for one kind of actor lets no event of another kind pass, as it cannot name that one.
    let by_actor =
        ["config", "container", "daemon", "network", "node", "plugin", "secret", "service", "volume"]
            .into_iter()
            .all(|filter| filters.begins(filter, &actor.id) || filters.begins(filter, name));
    let labels: HashMap<_, _> = actor.attributes.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    filters.is("event", &event.action)
        && filters.is("type", kind)
        && filters.is("scope", "local")
        && by_actor
        && by_image(filters, event)
        && filters.labelled("label", &labels)
}

/// By id, name, or name without tag; a container's events belong to its image as well.
fn by_image(filters: &Filters, event: &Event) -> bool {
    let attribute = if event.subject == Subject::Image { "name" } else { "image" };
    let name = event.actor.attributes.get(attribute).map_or("", String::as_str);
    let untagged = |text: &str| match text.parse::<holm_api::Reference>() {
        Ok(reference) => reference.familiar_name(),
        Err(_) => text.to_owned(),
    };
    filters.is("image", &event.actor.id)
        || filters.is("image", name)
        || filters.is("image", &untagged(&event.actor.id))
        || filters.is("image", &untagged(name))
}
