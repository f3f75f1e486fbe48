//! `POST /networks/create`: a body that Go's decoder would take, into what the engine wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::version::ApiVersion;
use crate::api::{body, reply};
use crate::engine::{CreateNetwork, Engine, Ipam, IpamConfig};

/// The first version in which IPv4 can be switched off.
const IPV4: ApiVersion = ApiVersion::one(48);

/// The body. Unknown fields are passed over, as Go does; so are `null`s.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    name: Option<String>,
    driver: Option<String>,
    scope: Option<String>,
    #[serde(rename = "EnableIPv4")]
    ipv4: Option<bool>,
    #[serde(rename = "EnableIPv6")]
    ipv6: Option<bool>,
    #[serde(rename = "IPAM")]
    ipam: Option<IpamBody>,
    internal: Option<bool>,
    attachable: Option<bool>,
    ingress: Option<bool>,
    config_only: Option<bool>,
    config_from: Option<Reference>,
    options: Option<BTreeMap<String, Option<String>>>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct IpamBody {
    driver: Option<String>,
    options: Option<BTreeMap<String, Option<String>>>,
    config: Option<Vec<Option<ConfigBody>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConfigBody {
    subnet: Option<String>,
    #[serde(rename = "IPRange")]
    range: Option<String>,
    gateway: Option<String>,
    #[serde(rename = "AuxiliaryAddresses")]
    auxiliary: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reference {
    network: Option<String>,
}

/// `POST /networks/create`
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    request: Request,
) -> Result<Response, ApiError> {
    let created = engine.create_network(wish(body::read_json(request).await?, version)?).await?;
    let body = json!({ "Id": created.network.id.as_str(), "Warning": created.warning });
    Ok(reply::json(StatusCode::CREATED, &body))
}

fn wish(body: Value, version: ApiVersion) -> Result<CreateNetwork, ApiError> {
    let body: Option<Body> =
        serde_json::from_value(body).map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))?;
    let body = body.unwrap_or_default();
    Ok(CreateNetwork {
        name: body.name.unwrap_or_default(),
        driver: body.driver.unwrap_or_default(),
        scope: body.scope.unwrap_or_default(),
        ipv4: body.ipv4.filter(|_| version >= IPV4),
        ipv6: body.ipv6,
        ipam: body.ipam.map(ipam),
        internal: body.internal.unwrap_or_default(),
        attachable: body.attachable.unwrap_or_default(),
        ingress: body.ingress.unwrap_or_default(),
        config_only: body.config_only.unwrap_or_default(),
        config_from: body.config_from.and_then(|from| from.network),
        options: texts(body.options),
        labels: texts(body.labels),
    })
}

fn ipam(body: IpamBody) -> Ipam {
    let configs = body.config.into_iter().flatten().map(|config| {
        let config = config.unwrap_or_default();
        IpamConfig {
            subnet: config.subnet.unwrap_or_default(),
            range: config.range.unwrap_or_default(),
            gateway: config.gateway.unwrap_or_default(),
            auxiliary: texts(config.auxiliary),
        }
    });
    Ipam {
        driver: body.driver.unwrap_or_default(),
        config: configs.collect(),
        options: body.options.map(|options| texts(Some(options))),
    }
}

/// To Go, a text that is `null` is an empty one.
fn texts(map: Option<BTreeMap<String, Option<String>>>) -> BTreeMap<String, String> {
    map.into_iter().flatten().map(|(key, value)| (key, value.unwrap_or_default())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_written_by_go_is_read() {
        let body = json!({
            "Name": "mine", "Driver": "bridge", "Scope": "", "EnableIPv6": false, "EnableIPv4": false,
            "IPAM": { "Driver": "default", "Options": {}, "Config": [{ "Subnet": "10.1.0.0/24", "IPRange": "" }] },
            "Internal": true, "Attachable": false, "Ingress": false, "ConfigOnly": false, "ConfigFrom": null,
            "Options": {}, "Labels": { "a": null }, "CheckDuplicate": true
        });
        let old = wish(body.clone(), ApiVersion::one(47)).unwrap();
        assert_eq!((old.name.as_str(), old.internal, old.ipv4), ("mine", true, None));
        assert_eq!(old.ipam.unwrap().config[0].subnet, "10.1.0.0/24");
        assert_eq!(old.labels["a"], "");
        assert_eq!(wish(body, ApiVersion::newest()).unwrap().ipv4, Some(false));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let refused = wish(json!({ "Name": 5 }), ApiVersion::newest()).unwrap_err().into_parts().1;
        assert!(refused.starts_with("invalid JSON: "), "{refused}");
        assert_eq!(wish(Value::Null, ApiVersion::newest()).unwrap().name, "");
    }
}
