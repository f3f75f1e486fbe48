//! `/volumes`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::SecondsFormat;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::version::ApiVersion;
use crate::api::{body, reply};
use crate::engine::{Engine, EngineError};
use crate::volume::{CreateVolume, DRIVER, Volume};

const LIST_FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];
const PRUNE_FILTERS: [&str; 3] = ["all", "label", "label!"];
/// Go's words for yes and no (`strconv.ParseBool`).
const YES: [&str; 6] = ["1", "t", "T", "TRUE", "true", "True"];
const NO: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];

type Shared = State<Arc<Engine>>;

/// All routes below `/volumes`.
pub(crate) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/volumes", get(list))
        .route("/volumes/create", post(create))
        .route("/volumes/prune", post(prune))
        .route("/volumes/{name}", get(inspect).delete(remove))
}

/// `GET /volumes`
async fn list(State(engine): Shared, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &LIST_FILTERS)?;
    let dangling = filters.flag("dangling")?;
    let included = |volume: &Volume| {
        filters.is("driver", DRIVER)
            && filters.matches("name", volume.name.as_str())
            && filters.labelled("label", &labels(volume))
            && dangling.is_none_or(|dangling| dangling == (engine.volumes().keepers(&volume.name) == 0))
    };
    let volumes = engine.volumes().list();
    let bodies: Vec<Value> =
        volumes.iter().filter(|volume| included(volume)).map(|volume| shape(&engine, volume)).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "Volumes": bodies, "Warnings": null })))
}

/// `GET /volumes/{name}`
async fn inspect(State(engine): Shared, Path(name): Path<String>) -> Result<Response, ApiError> {
    let volume = engine.volumes().get(&name).map_err(EngineError::from)?;
    Ok(reply::json(StatusCode::OK, &shape(&engine, &volume)))
}

/// The body of a creation. Unknown fields are passed over, as Go does.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Wish {
    name: Option<String>,
    driver: Option<String>,
    driver_opts: Option<BTreeMap<String, String>>,
    labels: Option<BTreeMap<String, String>>,
    cluster_volume_spec: Option<Value>,
}

/// `POST /volumes/create`
async fn create(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    request: Request,
) -> Result<Response, ApiError> {
    let value = body::read_json(request).await?;
    let wish: Option<Wish> =
        serde_json::from_value(value).map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))?;
    let wish = wish.unwrap_or_default();
    if wish.cluster_volume_spec.is_some() && version >= ApiVersion::one(42) {
        return Err(ApiError::no_swarm());
    }
    let wish = CreateVolume {
        name: wish.name.filter(|name| !name.is_empty()),
        driver: wish.driver.unwrap_or_default(),
        labels: wish.labels,
        options: wish.driver_opts,
    };
    let volume = engine.create_volume(wish, None).await?;
    Ok(reply::json(StatusCode::CREATED, &shape(&engine, &volume)))
}

/// `DELETE /volumes/{name}`
async fn remove(State(engine): Shared, Path(name): Path<String>, query: Query) -> Result<Response, ApiError> {
    engine.remove_volume(&name, query.flag("force")).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /volumes/prune`
async fn prune(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &PRUNE_FILTERS)?;
    // Older clients knew nothing of anonymous volumes, and meant all.
    let all = version < ApiVersion::one(42) || wants_all(&filters)?;
    let pruned = engine
        .prune_volumes(|volume| {
            (all || volume.is_anonymous())
                && filters.labelled("label", &labels(volume))
                && !(filters.has("label!") && filters.labelled("label!", &labels(volume)))
        })
        .await?;
    let removed = (!pruned.removed.is_empty()).then_some(pruned.removed);
    let body = json!({ "VolumesDeleted": removed, "SpaceReclaimed": pruned.reclaimed });
    Ok(reply::json(StatusCode::OK, &body))
}

fn wants_all(filters: &Filters) -> Result<bool, ApiError> {
    let values: Vec<&str> = filters.values("all").collect();
    match values.as_slice() {
        [] => Ok(false),
        [yes] if YES.contains(yes) => Ok(true),
        [no] if NO.contains(no) => Ok(false),
        [other] => Err(ApiError::invalid(format!(
            "invalid filter 'all': strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
        several => Err(ApiError::invalid(format!(
            "invalid filter 'all=[{}]': only one value is expected",
            several.join(" ")
        ))),
    }
}

fn labels(volume: &Volume) -> HashMap<String, String> {
    volume.labels.iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// All volumes as `system df` shows them. Of those with options nobody knows how large they are.
pub(crate) async fn summaries(engine: &Engine) -> Result<Vec<Value>, ApiError> {
    let mut bodies = Vec::new();
    for volume in engine.volumes().list() {
        if volume.options.as_ref().is_some_and(|options| !options.is_empty()) {
            continue;
        }
        let mut body = shape(engine, &volume);
        let size = engine.volume_size(&volume.name).await?;
        body["UsageData"] = json!({ "RefCount": engine.volumes().keepers(&volume.name), "Size": size });
        bodies.push(body);
    }
    Ok(bodies)
}

fn shape(engine: &Engine, volume: &Volume) -> Value {
    json!({
        "CreatedAt": volume.created.to_rfc3339_opts(SecondsFormat::Secs, true),
        "Driver": DRIVER,
        "Labels": volume.labels,
        "Mountpoint": engine.volumes().data(&volume.name),
        "Name": volume.name,
        "Options": volume.options,
        "Scope": "local",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(text: &str) -> Filters {
        let encoded: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        Filters::of(&Query::parse(&format!("filters={encoded}")), &PRUNE_FILTERS).unwrap()
    }

    #[test]
    fn all_is_one_word_for_yes_or_no() {
        let all = |text: &str| wants_all(&filters(text)).map_err(|error| error.into_parts().1);
        assert_eq!(all("{}"), Ok(false));
        assert_eq!(all(r#"{"all":["true"]}"#), Ok(true));
        assert_eq!(all(r#"{"all":{"0":true}}"#), Ok(false));
        assert_eq!(
            all(r#"{"all":["yes"]}"#).unwrap_err(),
            "invalid filter 'all': strconv.ParseBool: parsing \"yes\": invalid syntax"
        );
        assert_eq!(
            all(r#"{"all":["1","0"]}"#).unwrap_err(),
            "invalid filter 'all=[0 1]': only one value is expected"
        );
    }
}
