//! `/networks`

mod create;
mod members;
mod shape;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use chrono::Utc;
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::until::until;
use crate::api::version::ApiVersion;
use crate::engine::{Engine, Network};

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
const PRUNE_FILTERS: [&str; 3] = ["label", "label!", "until"];
/// The first version whose list does not tell of containers.
const SUMMARIES: ApiVersion = ApiVersion::one(28);

type Shared = State<Arc<Engine>>;

/// All routes below `/networks`.
pub(crate) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/create", post(create::create))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
        .route("/networks/{id}/connect", post(members::connect))
        .route("/networks/{id}/disconnect", post(members::disconnect))
}

/// `GET /networks`
async fn list(
    State(engine): Shared,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &FILTERS)?;
    let wish = Wish::of(&filters)?;
    let networks = engine.networks().list();
    let included = |network: &&Arc<Network>| wish.includes(&engine, network);
    let body = |network: &Arc<Network>| {
        let members = if version < SUMMARIES { shape::members(&engine, network) } else { json!({}) };
        shape::network(network, members)
    };
    let bodies: Vec<Value> = networks.iter().filter(included).map(body).collect();
    Ok(reply::json(StatusCode::OK, &bodies))
}

/// Which networks a client wants to see.
struct Wish<'a> {
    filters: &'a Filters,
    dangling: Option<bool>,
}

impl<'a> Wish<'a> {
    fn of(filters: &'a Filters) -> Result<Self, ApiError> {
        let values: Vec<&str> = filters.values("dangling").collect();
        let dangling = match values.as_slice() {
            [] => None,
            ["1" | "true"] => Some(true),
            ["0" | "false"] => Some(false),
            [_] => {
                return Err(ApiError::invalid(
                    "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
                ));
            }
            _ => return Err(ApiError::invalid("got more than one value for filter key \"dangling\"")),
        };
        match filters.values("type").find(|kind| !["builtin", "custom"].contains(kind)) {
            None => Ok(Self { filters, dangling }),
            Some(kind) => Err(ApiError::invalid(format!("invalid filter: 'type'='{kind}'"))),
        }
    }

    fn includes(&self, engine: &Engine, network: &Network) -> bool {
        let filters = self.filters;
        let idle = || !network.is_predefined() && engine.networks().members(&network.id).is_empty();
        let kind = if network.is_predefined() { "builtin" } else { "custom" };
        filters.matches("name", &network.name)
            && filters.matches("id", network.id.as_str())
            && filters.is("driver", network.driver.name())
            && filters.is("scope", "local")
            && filters.is("type", kind)
            && filters.labelled("label", &labels(network))
            && self.dangling.is_none_or(|dangling| dangling == idle())
    }
}

fn labels(network: &Network) -> HashMap<String, String> {
    network.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// `GET /networks/{id}`
async fn inspect(State(engine): Shared, Path(id): Path<String>, query: Query) -> Result<Response, ApiError> {
    let verbose = verbose(&query)?;
    let network = engine.networks().find(&id)?;
    if query.text("scope").is_some_and(|scope| scope != "local") {
        return Err(ApiError::new(StatusCode::NOT_FOUND, format!("network {id} not found")));
    }
    let mut body = shape::network(&network, shape::members(&engine, &network));
    if verbose {
        // Those of a swarm.
        body["Services"] = json!({});
    }
    Ok(reply::json(StatusCode::OK, &body))
}

fn verbose(query: &Query) -> Result<bool, ApiError> {
    match query.text("verbose").unwrap_or_default() {
        "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        other => Err(ApiError::invalid(format!(
            "invalid value for verbose: {other}: strconv.ParseBool: parsing {other:?}: invalid syntax"
        ))),
    }
}

/// `POST /networks/prune`
async fn prune(State(engine): Shared, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &PRUNE_FILTERS)?;
    let until = until(&filters, Utc::now())?;
    let removed = engine
        .prune_networks(|network| {
            let labels = labels(network);
            until.is_none_or(|until| network.created <= until)
                && filters.labelled("label", &labels)
                && !(filters.has("label!") && filters.labelled("label!", &labels))
        })
        .await?;
    let removed = (!removed.is_empty()).then_some(removed);
    Ok(reply::json(StatusCode::OK, &json!({ "NetworksDeleted": removed })))
}

/// `DELETE /networks/{id}`
async fn remove(State(engine): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    engine.remove_network(&id).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}
