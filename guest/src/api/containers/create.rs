//! `POST /containers/create`: a body that Go's decoder would take, into what the engine wants.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use holm_api::models;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::api::body;
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::api::version::ApiVersion;
use crate::engine::{CreateRequest, Engine};
use crate::image::Platform;

const POLICIES: [&str; 5] = ["", "no", "always", "on-failure", "unless-stopped"];
const MOUNTS: [&str; 6] = ["bind", "volume", "tmpfs", "image", "npipe", "cluster"];
const PROPAGATIONS: [&str; 7] = ["", "private", "rprivate", "slave", "rslave", "shared", "rshared"];
const MAC_WARNING: &str = "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.";

/// `POST /containers/create`
pub(super) async fn create(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut wish, mut warnings) = wish(body::read_json(request).await?, version)?;
    wish.name = query.text("name").map(str::to_owned);
    if let Some(text) = query.text("platform").filter(|_| version >= ApiVersion::one(41)) {
        let platform = text.parse::<Platform>();
        wish.platform = Some(platform.map_err(|error| ApiError::invalid(error.to_string()))?);
    }
    let created = engine.create(wish).await?;
    warnings.splice(0..0, created.warnings);
    Ok(reply::json(StatusCode::CREATED, &json!({ "Id": created.id.as_str(), "Warnings": warnings })))
}

/// Takes the body apart. Also returns moby's warnings about outdated fields.
fn wish(body: Value, version: ApiVersion) -> Result<(CreateRequest, Vec<String>), ApiError> {
    let Value::Object(mut config) = body else {
        return Err(ApiError::invalid("config cannot be empty in order to create a container"));
    };
    without_nulls(&mut config);
    let host = config.remove("HostConfig").unwrap_or_else(|| json!({}));
    let networking = config.remove("NetworkingConfig").unwrap_or_else(|| json!({}));
    let mac = config.remove("MacAddress");
    for command in ["Cmd", "Entrypoint"] {
        if let Some(Value::String(word)) = config.get(command) {
            config[command] = json!([word]);
        }
    }
    check_policy(&host)?;
    check_words(&host)?;
    let mut host: models::HostConfig = typed(host)?;
    check_mounts(&host, version)?;
    let networking: models::NetworkingConfig = typed(networking)?;
    let mut endpoints = networking.endpoints_config.unwrap_or_default();
    // `default` is how clients name the network of an unknown system.
    if let Some(default) = endpoints.remove("default") {
        endpoints.entry("bridge".to_owned()).or_insert(default);
    }
    if version < ApiVersion::one(44) && endpoints.len() > 1 {
        let mut names: Vec<_> = endpoints.keys().map(String::as_str).collect();
        names.sort_unstable();
        return Err(ApiError::invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    if host.pids_limit.is_some_and(|limit| limit <= 0) {
        host.pids_limit = None;
    }
    if version < ApiVersion::one(25) {
        host.auto_remove = None;
    }
    let main =
        host.network_mode.as_deref().filter(|mode| !["", "default"].contains(mode)).unwrap_or("bridge");
    let warnings = take_mac(mac, &mut endpoints, main, version)?;
    let config = typed(Value::Object(config))?;
    Ok((CreateRequest { name: None, config, host, endpoints, platform: None }, warnings))
}

/// A container's configuration alone.
pub(crate) fn config_of(body: Value) -> Result<models::ContainerConfig, ApiError> {
    Ok(wish(body, ApiVersion::newest())?.0.config)
}

/// The container-wide address of clients from before 1.44 is that of the endpoint on the main network.
fn take_mac(
    mac: Option<Value>,
    endpoints: &mut HashMap<String, models::EndpointSettings>,
    main: &str,
    version: ApiVersion,
) -> Result<Vec<String>, ApiError> {
    let outdated = version < ApiVersion::one(44);
    let Some(mac) = mac.as_ref().and_then(Value::as_str).filter(|mac| !mac.is_empty()) else {
        if outdated {
            endpoints.values_mut().for_each(|endpoint| endpoint.mac_address = None);
        }
        return Ok(Vec::new());
    };
    let endpoint = endpoints.entry(main.to_owned()).or_default();
    if !outdated && endpoint.mac_address.as_deref().is_some_and(|own| !own.is_empty() && own != mac) {
        return Err(ApiError::invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ));
    }
    endpoint.mac_address = Some(mac.to_owned());
    Ok(if outdated { Vec::new() } else { vec![MAC_WARNING.to_owned()] })
}

/// An unknown policy is refused in moby's words, not in those of our decoder.
pub(super) fn check_policy(host: &Value) -> Result<(), ApiError> {
    match host.pointer("/RestartPolicy/Name").and_then(Value::as_str) {
        Some(name) if !POLICIES.contains(&name) => Err(ApiError::invalid(format!(
            "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        ))),
        _ => Ok(()),
    }
}

/// Likewise what is one of a few words.
fn check_words(host: &Value) -> Result<(), ApiError> {
    let word = |name: &str| host.get(name).and_then(Value::as_str).unwrap_or_default();
    let isolation = word("Isolation");
    if !["", "default"].contains(&isolation.to_lowercase().as_str()) {
        return Err(ApiError::invalid(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        )));
    }
    for mount in host.get("Mounts").and_then(Value::as_array).into_iter().flatten() {
        let kind = mount.get("Type").and_then(Value::as_str).unwrap_or_default();
        let refuse = |why: &str| ApiError::invalid(format!("invalid mount config for type {kind:?}: {why}"));
        if !MOUNTS.contains(&kind) {
            return Err(refuse("mount type unknown"));
        }
        let propagation =
            mount.pointer("/BindOptions/Propagation").and_then(Value::as_str).unwrap_or_default();
        if !PROPAGATIONS.contains(&propagation) {
            return Err(refuse(&format!("invalid propagation mode: {propagation}")));
        }
    }
    match word("CgroupnsMode") {
        "" | "private" | "host" => Ok(()),
        mode => Err(ApiError::invalid(format!("invalid cgroup namespace mode: {mode}"))),
    }
}

/// What clients of an older version cannot mean.
fn check_mounts(host: &models::HostConfig, version: ApiVersion) -> Result<(), ApiError> {
    for mount in host.mounts.iter().flatten() {
        let forced = mount.bind_options.as_ref().and_then(|options| options.read_only_force_recursive);
        let subpath = mount.volume_options.as_ref().and_then(|options| options.subpath.as_deref());
        let needs = [
            (forced == Some(true), 44, "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"),
            (
                subpath.is_some_and(|path| !path.is_empty()),
                45,
                "VolumeOptions.Subpath needs API v1.45 or newer",
            ),
            (
                mount.typ == Some(models::MountType::IMAGE),
                48,
                "Mount type \"Image\" needs API v1.48 or newer",
            ),
        ];
        let refused = needs.into_iter().find(|(asked, since, _)| *asked && version < ApiVersion::one(*since));
        if let Some((.., words)) = refused {
            return Err(ApiError::invalid(words));
        }
    }
    Ok(())
}

/// A value of ours from what a client sent.
pub(super) fn typed<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}

/// To Go, `null` is as good as absent. In a map that stands for a set it is an element all the same.
pub(in crate::api) fn without_nulls(object: &mut Map<String, Value>) {
    object.retain(|_, value| !value.is_null());
    for (name, value) in object.iter_mut() {
        match (name.as_str(), value) {
            ("ExposedPorts" | "Volumes", Value::Object(set)) => {
                set.iter_mut().for_each(|(_, value)| *value = json!({}));
            }
            ("PortBindings", _) => {}
            (_, Value::Object(inner)) => without_nulls(inner),
            (_, Value::Array(items)) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(without_nulls)
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> CreateRequest {
        wish(body, ApiVersion::newest()).unwrap().0
    }

    fn refused(body: Value, version: ApiVersion) -> String {
        wish(body, version).unwrap_err().into_parts().1
    }

    #[test]
    fn a_body_written_by_go_is_read() {
        let request = read(json!({
            "Hostname": "", "Tty": false, "Env": null, "Cmd": ["sh"], "Image": "busybox", "Volumes": {},
            "Entrypoint": null, "OnBuild": null, "Labels": {}, "ExposedPorts": {"80/tcp": {}, "81/tcp": null},
            "HostConfig": {
                "Binds": null, "LogConfig": {"Type": "", "Config": {}}, "NetworkMode": "default",
                "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
                "ConsoleSize": [24, 80], "CapAdd": null, "Isolation": "", "MemorySwappiness": -1,
                "OomKillDisable": false, "PidsLimit": 0, "Ulimits": [], "MaskedPaths": null
            },
            "NetworkingConfig": {"EndpointsConfig": {"default": null}}
        }));
        assert_eq!(request.config.cmd.unwrap(), ["sh"]);
        let mut ports = request.config.exposed_ports.unwrap();
        ports.sort_unstable();
        assert_eq!(ports, ["80/tcp", "81/tcp"]);
        assert_eq!(request.host.console_size.unwrap(), [24, 80]);
        assert_eq!(request.host.pids_limit, None);
    }

    #[test]
    fn a_command_may_be_one_word() {
        let request = read(json!({"Image": "a", "Cmd": "true", "Entrypoint": "/bin/env"}));
        assert_eq!(request.config.cmd.unwrap(), ["true"]);
        assert_eq!(request.config.entrypoint.unwrap(), ["/bin/env"]);
    }

    #[test]
    fn the_default_network_is_the_bridge() {
        let request = read(json!({
            "Image": "a", "NetworkingConfig": {"EndpointsConfig": {"default": {"MacAddress": "02:00:00:00:00:01"}}}
        }));
        assert_eq!(request.endpoints["bridge"].mac_address.as_deref(), Some("02:00:00:00:00:01"));
    }

    #[test]
    fn a_container_wide_mac_is_the_endpoints_and_outdated() {
        let (request, warnings) =
            wish(json!({"Image": "a", "MacAddress": "02:00:00:00:00:01"}), ApiVersion::newest()).unwrap();
        assert_eq!(request.endpoints["bridge"].mac_address.as_deref(), Some("02:00:00:00:00:01"));
        assert_eq!(warnings, [MAC_WARNING]);
        let (_, warnings) =
            wish(json!({"Image": "a", "MacAddress": "02:00:00:00:00:01"}), ApiVersion::one(43)).unwrap();
        assert!(warnings.is_empty());
    }

    #[test]
    fn refusals_have_mobys_words() {
        let newest = ApiVersion::newest();
        assert_eq!(refused(Value::Null, newest), "config cannot be empty in order to create a container");
        assert_eq!(
            refused(json!({"HostConfig": {"RestartPolicy": {"Name": "never"}}}), newest),
            "invalid restart policy: unknown policy 'never'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
        );
        for (host, words) in [
            (json!({"Isolation": "hyperv"}), "invalid isolation (hyperv): linux only supports 'default'"),
            (json!({"CgroupnsMode": "ours"}), "invalid cgroup namespace mode: ours"),
            (
                json!({"Mounts": [{"Type": "usb"}]}),
                "invalid mount config for type \"usb\": mount type unknown",
            ),
            (
                json!({"Mounts": [{"Type": "bind", "BindOptions": {"Propagation": "up"}}]}),
                "invalid mount config for type \"bind\": invalid propagation mode: up",
            ),
        ] {
            assert_eq!(refused(json!({ "HostConfig": host }), newest), words);
        }
        let image = json!({"HostConfig": {"Mounts": [{"Type": "image", "Source": "a", "Target": "/a"}]}});
        assert_eq!(refused(image, ApiVersion::one(47)), "Mount type \"Image\" needs API v1.48 or newer");
        assert!(refused(json!({"Tty": "yes"}), newest).starts_with("invalid JSON: "));
        assert_eq!(
            refused(
                json!({"NetworkingConfig": {"EndpointsConfig": {"b": {}, "a": {}}}}),
                ApiVersion::one(43)
            ),
            "Container cannot be created with multiple network endpoints: a, b"
        );
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_json_is_a_wish_or_refused() {
        bolero::check!().with_type::<(String, String, u8)>().for_each(|(text, key, kind)| {
            let inner = match kind % 4 {
                0 => Value::String(text.clone()),
                1 => json!({ key.clone(): text }),
                2 => json!([text, null]),
                _ => serde_json::from_str(text).unwrap_or(Value::Null),
            };
            let _ =
                wish(json!({ key.clone(): inner.clone(), "HostConfig": inner.clone() }), ApiVersion::one(40));
            let _ = wish(json!({ "NetworkingConfig": { "EndpointsConfig": inner } }), ApiVersion::newest());
        });
    }
}
