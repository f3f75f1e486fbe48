//! The JSON of a container's places on networks, with every field that Go writes, zero or not.

use std::collections::{BTreeMap, HashMap};

use holm_api::models::EndpointIpamConfig;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::shape;
use crate::engine::{Definition, Engine, Status, dns_names, has_embedded_dns};
use crate::network::{Endpoint, Place as Addresses};

/// Fields of a place that are those of the default network's too, beside it, for older clients.
const OUTER: [&str; 8] = [
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
];

/// `NetworkSettings` of an inspected container.
pub(super) fn network_settings(engine: &Engine, definition: &Definition, status: &Status) -> Value {
    let running = status.life.pid();
    let sandbox = running.map(|_| digest(&["sandbox", definition.id.as_str()])).unwrap_or_default();
    let key = running.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default();
    let networks = networks(engine, definition, status);
    let mut settings = json!({
        "Bridge": "", "SandboxID": sandbox, "SandboxKey": key, "Ports": shape::ports(definition, status),
        "HairpinMode": false, "LinkLocalIPv6Address": "", "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null, "SecondaryIPv6Addresses": null,
    });
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    let bridge = json!(bridge);
    for field in OUTER {
        settings[field] = bridge[field].clone();
    }
    settings["Networks"] = json!(networks);
    settings
}

/// A container's place on one network.
#[derive(Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Place {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<EndpointIpamConfig>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    mac_address: String,
    driver_opts: Option<HashMap<String, String>>,
    gw_priority: i64,
    #[serde(rename = "NetworkID")]
    network_id: String,
    #[serde(rename = "EndpointID")]
    endpoint_id: String,
    gateway: String,
    #[serde(rename = "IPAddress")]
    address: String,
    #[serde(rename = "IPPrefixLen")]
    prefix: u8,
    #[serde(rename = "IPv6Gateway")]
    v6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    v6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    v6_prefix: u8,
    #[serde(rename = "DNSNames")]
    dns_names: Option<Vec<String>>,
}

/// All of them, by network.
pub(super) fn networks(engine: &Engine, definition: &Definition, status: &Status) -> BTreeMap<String, Place> {
    let names = definition.endpoints.keys();
    names.map(|name| (name.clone(), place(engine, definition, status, name))).collect()
}

fn place(engine: &Engine, definition: &Definition, status: &Status, name: &str) -> Place {
    let wish = &definition.endpoints[name];
    let endpoint = status.endpoints.iter().find(|endpoint| endpoint.network_name == name);
    // Docker tells these of a container that has once run.
    let network = status.life.started_at.and_then(|_| engine.networks().find(name).ok());
    let mut place = Place {
        ipam_config: wish.ipam_config.clone(),
        links: wish.links.clone(),
        aliases: wish.aliases.clone(),
        driver_opts: wish.driver_opts.clone(),
        gw_priority: wish.gw_priority.unwrap_or(0),
        ..endpoint.map(Place::of).unwrap_or_default()
    };
    if let Some(network) = network {
        place.network_id = network.id.to_string();
        if has_embedded_dns(&network.name) {
            place.dns_names = Some(dns_names(definition, Some(wish)));
        }
        if endpoint.is_none() && status.life.pid().is_some() {
            // A place without an interface of its own: the machine's, or none.
            let parts = ["endpoint", definition.id.as_str(), network.id.as_str()];
            place.endpoint_id = digest(&parts);
        }
    } else {
        place.mac_address = wish.mac_address.clone().unwrap_or_default();
    }
    place
}

impl Place {
    fn of(endpoint: &Endpoint) -> Self {
        let address = |place: Option<Addresses>| {
            place.map(|place| place.address.addr().to_string()).unwrap_or_default()
        };
        let prefix = |place: Option<Addresses>| place.map_or(0, |place| place.address.prefix_len());
        let gateway = |place: Option<Addresses>| {
            place.and_then(|place| place.gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
        };
        Self {
            mac_address: endpoint.mac.to_string(),
            endpoint_id: endpoint.id.to_string(),
            gateway: gateway(endpoint.v4),
            address: address(endpoint.v4),
            prefix: prefix(endpoint.v4),
            v6_gateway: gateway(endpoint.v6),
            v6_address: address(endpoint.v6),
            v6_prefix: prefix(endpoint.v6),
            ..Self::default()
        }
    }
}

/// An id for something that has none of its own: the same for as long as what it is made from.
fn digest(parts: &[&str]) -> String {
    hex::encode(Sha256::digest(parts.join("\0")))
}
