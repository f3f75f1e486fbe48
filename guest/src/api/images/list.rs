//! `GET /images/json`: what `docker images` shows, and which.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use holm_api::Digest;
use http::StatusCode;
use serde_json::{Value, json};

use super::pattern;
use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::{Engine, EngineError, Timestamp};
use crate::image::{ContainerUse, Image};

const FILTERS: [&str; 6] = ["dangling", "label", "before", "since", "reference", "until"];

/// `GET /images/json`
pub(super) async fn list(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let wish = Wish::of(&engine, &query)?;
    let shared = if query.flag("shared-size") { Some(shared_sizes(&engine)) } else { None };
    let mut images: Vec<Image> = engine.images().list();
    images.sort_by_key(|image| std::cmp::Reverse((image.created(), image.id())));
    // Not counted for older clients.
    let uses = (version >= ApiVersion::one(51)).then(|| engine.image_uses());
    let users = |image: &Image| uses.as_ref().map_or(-1, |uses| users_of(image, uses));
    let bodies: Vec<Value> = images
        .iter()
        .filter(|image| wish.includes(image))
        .filter_map(|image| {
            let names = wish.names(image)?;
            let mut body = body(image, &names, users(image), shared.as_ref());
            if version < ApiVersion::one(44) {
                body["VirtualSize"] = json!(image.size());
            }
            Some(body)
        })
        .collect();
    Ok(reply::json(StatusCode::OK, &bodies))
}

/// All images as `system df` shows them: with what they share, and who uses them.
pub(crate) fn summaries(engine: &Engine) -> Vec<Value> {
    let shared = shared_sizes(engine);
    let uses = engine.image_uses();
    let images = engine.images().list();
    let body = |image: &Image| {
        let names = (image.repo_tags(), image.repo_digests());
        body(image, &names, users_of(image, &uses), Some(&shared))
    };
    images.iter().map(body).collect()
}

fn users_of(image: &Image, uses: &[ContainerUse]) -> i64 {
    let users = uses.iter().filter(|user| user.image == image.id()).count();
    i64::try_from(users).unwrap_or(i64::MAX)
}

/// Which images a client wants to see.
struct Wish {
    dangling: Option<bool>,
    before: Option<DateTime<Utc>>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    filters: Filters,
}

impl Wish {
    fn of(engine: &Engine, query: &Query) -> Result<Self, ApiError> {
        let filters = Filters::of(query, &FILTERS)?;
        let made = |name: &str| -> Result<Vec<DateTime<Utc>>, ApiError> {
            let mut times = Vec::new();
            for text in filters.values(name) {
                times.extend(engine.images().find(text).map_err(EngineError::from)?.created());
            }
            Ok(times)
        };
        let until = filters.values("until").map(Timestamp::parse).collect::<Result<Vec<_>, _>>()?;
        let (before, since) = (made("before")?, made("since")?);
        Ok(Self {
            dangling: filters.flag("dangling")?,
            before: before.into_iter().chain(until.iter().map(|until| until.time())).min(),
            since: since.into_iter().max(),
            until: until.into_iter().map(Timestamp::time).min(),
            filters,
        })
    }

    fn includes(&self, image: &Image) -> bool {
        let none = HashMap::new();
        let labels = image.config().config.labels.as_ref().unwrap_or(&none);
        let created = image.created().unwrap_or_default();
        self.filters.labelled("label", labels)
            && self.before.is_none_or(|before| created < before)
            && self.since.is_none_or(|since| created > since)
            && self.until.is_none_or(|until| created < until)
            && self.dangling.is_none_or(|dangling| dangling == image.repo_tags().is_empty())
    }

    /// Its names by tag and by digest, as far as they are asked for; `None` where none of them is.
    fn names(&self, image: &Image) -> Option<(Vec<String>, Vec<String>)> {
        if !self.filters.has("reference") {
            return Some((image.repo_tags(), image.repo_digests()));
        }
        let wanted = |name: &String| {
            let repository = name.split('@').next().unwrap_or(name);
            let untagged = match repository.rsplit_once(':') {
                Some((untagged, tag)) if !tag.contains('/') => untagged,
                _ => repository,
            };
            self.filters
                .values("reference")
                .any(|wanted| pattern::matches(wanted, name) || pattern::matches(wanted, untagged))
        };
        let tags: Vec<_> = image.repo_tags().into_iter().filter(wanted).collect();
        let digests: Vec<_> = image.repo_digests().into_iter().filter(wanted).collect();
        (!tags.is_empty() || !digests.is_empty()).then_some((tags, digests))
    }
}

/// Bytes that each image has in common with any other.
fn shared_sizes(engine: &Engine) -> HashMap<Digest, u64> {
    let images = engine.images().list();
    let mut users: HashMap<Digest, HashSet<Digest>> = HashMap::new();
    for image in &images {
        for layer in image.layers() {
            users.entry(layer.diff_id).or_default().insert(image.id());
        }
    }
    let shared = |image: &Image| {
        let layers = image.layers().iter().filter(|layer| users[&layer.diff_id].len() > 1);
        layers.map(|layer| layer.size).sum()
    };
    images.iter().map(|image| (image.id(), shared(image))).collect()
}

fn body(
    image: &Image,
    (tags, digests): &(Vec<String>, Vec<String>),
    containers: i64,
    shared: Option<&HashMap<Digest, u64>>,
) -> Value {
    let shared = shared.and_then(|sizes| sizes.get(&image.id())).map_or(json!(-1), |size| json!(size));
    json!({
        "Containers": containers,
        "Created": image.created().map_or(0, |at| at.timestamp()),
        "Id": image.id().to_string(),
        "Labels": image.config().config.labels,
        "ParentId": "",
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": shared,
        "Size": image.size(),
    })
}
