//! `POST /networks/{id}/connect` and `/disconnect`

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use holm_api::ContainerRef;
use holm_api::models::EndpointSettings;
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::api::containers::without_nulls;
use crate::api::error::ApiError;
use crate::api::{body, reply};
use crate::engine::Engine;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Connect {
    container: String,
    endpoint_config: Option<EndpointSettings>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Disconnect {
    container: String,
    force: bool,
}

/// `POST /networks/{id}/connect`
pub(super) async fn connect(
    State(engine): State<Arc<Engine>>,
    Path(network): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let wish: Connect = read(request).await?;
    let container = engine.find(&ContainerRef(wish.container))?;
    engine.connect(&container, &network, wish.endpoint_config.unwrap_or_default()).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`
pub(super) async fn disconnect(
    State(engine): State<Arc<Engine>>,
    Path(network): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let wish: Disconnect = read(request).await?;
    let container = engine.find(&ContainerRef(wish.container))?;
    engine.disconnect(&container, &network, wish.force).await?;
    Ok(reply::empty(StatusCode::OK))
}

async fn read<T: DeserializeOwned + Default>(request: Request) -> Result<T, ApiError> {
    let mut value = body::read_json(request).await?;
    match value.as_object_mut() {
        None => return Ok(T::default()),
        Some(fields) => without_nulls(fields),
    }
    serde_json::from_value(value).map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}
