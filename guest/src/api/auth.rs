//! Logins: the one that a client sends along, and `POST /auth`, which tries one.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::api::body;
use crate::api::error::ApiError;
use crate::api::reply;
use crate::engine::{Engine, EngineError};
use crate::image::RegistryAuth;

/// The login in `X-Registry-Auth`. moby ignores one that it cannot read, and so do clients count on it.
pub(crate) fn sent_along(headers: &HeaderMap) -> RegistryAuth {
    let text = headers.get("x-registry-auth").and_then(|value| value.to_str().ok());
    text.and_then(|text| RegistryAuth::from_header(text).ok()).unwrap_or_default()
}

/// `POST /auth`
pub(crate) async fn log_in(
    State(engine): State<Arc<Engine>>,
    request: Request,
) -> Result<Response, ApiError> {
    let login = body::read_json(request).await?;
    let server = login["serveraddress"].as_str().unwrap_or_default().to_owned();
    let auth = RegistryAuth::from_json(login.to_string().as_bytes())
        .map_err(|_| ApiError::invalid("invalid JSON: this is no login"))?;
    let identity = engine.images().login(&server, auth).await.map_err(EngineError::from)?;
    let answer = json!({ "IdentityToken": identity.unwrap_or_default(), "Status": "Login Succeeded" });
    Ok(reply::json(StatusCode::OK, &answer))
}
