//! `/networks`, as far as it goes: the networks that every daemon has.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::{Engine, NetworkMode, PREDEFINED};

const FILTERS: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
type Shared = State<Arc<Engine>>;

/// All routes below `/networks`.
pub(crate) fn router() -> Router<Arc<Engine>> {
    Router::new()
        .route("/networks", get(list))
        .route("/networks/prune", post(prune))
        .route("/networks/{id}", get(inspect).delete(remove))
}

/// `GET /networks`
async fn list(State(engine): Shared, query: Query) -> Result<Response, ApiError> {
    let filters = Filters::of(&query, &FILTERS)?;
    let unused = filters.flag("dangling")?;
    let included = |network: &NetworkMode| {
        filters.matches("name", network.name())
            && filters.begins("id", engine.networks().id(*network).as_str())
            && filters.is("driver", network.driver())
            && filters.is("scope", "local")
            // No predefined one is ever dangling, one's own, or labelled.
            && filters.is("type", "builtin")
            && filters.labelled("label", &HashMap::new())
            && unused != Some(true)
    };
    let bodies: Vec<Value> =
        PREDEFINED.into_iter().filter(included).map(|network| body(&engine, network, json!({}))).collect();
    Ok(reply::json(StatusCode::OK, &bodies))
}

/// `GET /networks/{id}`
async fn inspect(State(engine): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    let network = engine.networks().find(&id)?;
    Ok(reply::json(StatusCode::OK, &body(&engine, network, members(&engine, network))))
}

/// `POST /networks/prune`: networks that come with the daemon are never removed, and there are no others.
async fn prune(query: Query) -> Result<Response, ApiError> {
    Filters::of(&query, &["label", "label!", "until"])?;
    Ok(reply::json(StatusCode::OK, &json!({ "NetworksDeleted": null })))
}

/// `DELETE /networks/{id}`
async fn remove(State(engine): Shared, Path(id): Path<String>) -> Result<Response, ApiError> {
    let network = engine.networks().find(&id)?;
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        format!("{} is a pre-defined network and cannot be removed", network.name()),
    ))
}

fn members(engine: &Engine, network: NetworkMode) -> Value {
    let running = engine.containers().into_iter().filter_map(|container| {
        let status = container.status();
        let definition = container.definition();
        let mode = NetworkMode::of(&definition.host).ok()??;
        status.life.pid().filter(|_| mode == network)?;
        let endpoint = status.endpoint.as_ref();
        let body = json!({
            "Name": definition.name,
            "EndpointID": "",
            "MacAddress": endpoint.map(|e| e.mac.to_string()).unwrap_or_default(),
            "IPv4Address": endpoint.map(|e| format!("{}/{}", e.address, e.prefix)).unwrap_or_default(),
            "IPv6Address": "",
        });
        Some((definition.id.to_string(), body))
    });
    Value::Object(running.collect::<Map<_, _>>())
}

fn body(engine: &Engine, network: NetworkMode, members: Value) -> Value {
    let (ipam, options) = match network {
        NetworkMode::Bridge => (
            json!([{ "Subnet": "172.17.0.0/16", "Gateway": "172.17.0.1" }]),
            json!({
                "com.docker.network.bridge.default_bridge": "true",
                "com.docker.network.bridge.enable_icc": "true",
                "com.docker.network.bridge.enable_ip_masquerade": "false",
                "com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
                "com.docker.network.bridge.name": "docker0",
                "com.docker.network.driver.mtu": crate::network::MTU.to_string(),
            }),
        ),
        NetworkMode::Host | NetworkMode::None => (Value::Null, json!({})),
    };
    json!({
        "Name": network.name(),
        "Id": engine.networks().id(network).as_str(),
        "Created": engine.networks().created(),
        "Scope": "local",
        "Driver": network.driver(),
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": ipam },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": members,
        "Options": options,
        "Labels": {},
    })
}
