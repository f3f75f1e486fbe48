//! The JSON of a network with every field that Go writes, zero or not.

use chrono::SecondsFormat;
use serde_json::{Map, Value, json};

use crate::engine::{Engine, IpamConfig, Network};

/// All of it.
pub(super) fn network(network: &Network, members: Value) -> Value {
    json!({
        "Name": network.name,
        "Id": network.id.as_str(),
        "Created": network.created.to_rfc3339_opts(SecondsFormat::Nanos, true),
        "Scope": "local",
        "Driver": network.driver.name(),
        "EnableIPv4": network.ipv4,
        "EnableIPv6": network.ipv6,
        "IPAM": {
            "Driver": network.ipam.driver,
            "Options": network.ipam.options,
            "Config": config(network),
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": false,
        "ConfigFrom": { "Network": network.config_from },
        "ConfigOnly": network.config_only,
        "Containers": members,
        "Options": network.options,
        "Labels": network.labels,
    })
}

/// What was asked for of each family, or what came of asking for nothing.
fn config(network: &Network) -> Value {
    let of = |v4: bool| {
        let asked: Vec<_> =
            network.ipam.config.iter().filter(|config| config.subnet.contains(':') != v4).cloned().collect();
        if !asked.is_empty() {
            return asked;
        }
        let subnets = network.subnets.iter().filter(|subnet| subnet.net.addr().is_ipv4() == v4);
        let got = subnets.map(|subnet| IpamConfig {
            subnet: subnet.net.to_string(),
            gateway: subnet.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            ..IpamConfig::default()
        });
        got.collect()
    };
    let all: Vec<IpamConfig> = [of(true), of(false)].concat();
    // As Go writes an empty list.
    if all.is_empty() { Value::Null } else { json!(all) }
}

/// Who is on it, by container.
pub(super) fn members(engine: &Engine, network: &Network) -> Value {
    let all = engine.networks().members(&network.id);
    let members = all.into_values().map(|member| {
        let endpoint = member.endpoint;
        let address = |place: Option<crate::network::Place>| {
            place.map(|place| place.address.to_string()).unwrap_or_default()
        };
        let body = json!({
            "Name": member.name,
            "EndpointID": endpoint.id.as_str(),
            "MacAddress": endpoint.mac.to_string(),
            "IPv4Address": address(endpoint.v4),
            "IPv6Address": address(endpoint.v6),
        });
        (member.container.to_string(), body)
    });
    Value::Object(members.collect::<Map<_, _>>())
}
