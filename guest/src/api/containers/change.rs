//! `POST /containers/{name}/rename` and `/update`: a container that exists gets another name, other limits.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::response::Response;
use holm_api::{ContainerRef, models};
use http::StatusCode;
use serde_json::{Value, json};

use super::create::{check_policy, typed, without_nulls};
use super::find;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::version::ApiVersion;
use crate::api::{body, reply};
use crate::engine::Engine;

/// `POST /containers/{name}/rename`
pub(super) async fn rename(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let (old, new) = (name.trim(), query.text("name").unwrap_or_default().trim());
    if [old, new].iter().any(|name| matches!(*name, "" | "/")) {
        return Err(ApiError::invalid("Neither old nor new names may be empty"));
    }
    find(&engine, old)?.rename(new).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /containers/{name}/update`
pub(super) async fn update(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let wish = wish(body::read_json(request).await?, version)?;
    let warnings = engine.update(&ContainerRef(name), wish).await?;
    let warnings = (!warnings.is_empty()).then_some(warnings);
    Ok(reply::json(StatusCode::OK, &json!({ "Warnings": warnings })))
}

/// The body is the part of a container's `HostConfig` that can change.
fn wish(mut body: Value, version: ApiVersion) -> Result<models::HostConfig, ApiError> {
    if let Value::Object(fields) = &mut body {
        without_nulls(fields);
    }
    check_policy(&body)?;
    let mut wish: models::HostConfig = typed(body)?;
    if version < ApiVersion::one(40) {
        wish.pids_limit = None;
    }
    // Both, and once anything below, are how clients say unlimited.
    wish.pids_limit = wish.pids_limit.map(|limit| limit.max(0));
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_written_by_go_is_read() {
        let wish = wish(
            json!({
                "CpuShares": 0, "Memory": 67_108_864, "CpusetCpus": "", "BlkioWeightDevice": null, "Devices": [],
                "MemorySwappiness": null, "PidsLimit": -1, "RestartPolicy": { "Name": "", "MaximumRetryCount": 0 },
            }),
            ApiVersion::newest(),
        );
        let wish = wish.unwrap();
        assert_eq!((wish.memory, wish.pids_limit), (Some(67_108_864), Some(0)));
    }

    #[test]
    fn an_unknown_policy_and_a_body_of_another_type_are_refused() {
        let refused = |body| wish(body, ApiVersion::newest()).unwrap_err().into_parts().1;
        assert!(refused(json!({ "RestartPolicy": { "Name": "never" } })).contains("unknown policy 'never'"));
        assert!(refused(json!([])).starts_with("invalid JSON: "));
        assert!(refused(json!({ "Memory": "much" })).starts_with("invalid JSON: "));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_json_is_a_wish_or_refused() {
        bolero::check!().with_type::<(String, String)>().for_each(|(text, key)| {
            let inner: Value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text.as_str()));
            let _ = wish(json!({ key.as_str(): inner, "RestartPolicy": inner }), ApiVersion::newest());
            let _ = wish(inner, ApiVersion::one(39));
        });
    }
}
