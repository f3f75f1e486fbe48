//! The JSON of a container's places on networks, with every field that Go writes, zero or not.

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::shape;
use crate::engine::{Definition, Engine, Status, dns_names, has_embedded_dns};
use crate::network::{Endpoint, Place};

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
    let none = || addresses(None);
    let bridge = networks.get("bridge").cloned().unwrap_or_else(none);
    for field in OUTER {
        settings[field] = bridge[field].clone();
    }
    settings["Networks"] = networks;
    settings
}

/// All of them, by network.
pub(super) fn networks(engine: &Engine, definition: &Definition, status: &Status) -> Value {
    let mut names: Vec<_> = definition.endpoints.keys().collect();
    names.sort();
    let places = names.into_iter().map(|name| (name.clone(), place(engine, definition, status, name)));
    Value::Object(places.collect::<Map<_, _>>())
}

fn place(engine: &Engine, definition: &Definition, status: &Status, name: &str) -> Value {
    let wish = &definition.endpoints[name];
    let endpoint = status.endpoints.iter().find(|endpoint| endpoint.network_name == name);
    let network = engine.networks().find(name).ok();
    // Docker tells these of a container that has once run.
    let network = network.filter(|_| status.life.started_at.is_some());
    let mut place = addresses(endpoint);
    place["IPAMConfig"] = json!(wish.ipam_config);
    place["Links"] = json!(wish.links);
    place["Aliases"] = json!(wish.aliases);
    place["DriverOpts"] = json!(wish.driver_opts);
    place["GwPriority"] = json!(wish.gw_priority.unwrap_or(0));
    if let Some(network) = network {
        place["NetworkID"] = json!(network.id.as_str());
        if has_embedded_dns(&network.name) {
            place["DNSNames"] = json!(dns_names(definition, Some(wish)));
        }
        if endpoint.is_none() && status.life.pid().is_some() {
            // A place without an interface of its own: the machine's, or none.
            let parts = ["endpoint", definition.id.as_str(), network.id.as_str()];
            place["EndpointID"] = json!(digest(&parts));
        }
    } else {
        place["MacAddress"] = json!(wish.mac_address.clone().unwrap_or_default());
    }
    place
}

fn addresses(endpoint: Option<&Endpoint>) -> Value {
    let (v4, v6) = (endpoint.and_then(|e| e.v4), endpoint.and_then(|e| e.v6));
    let address =
        |place: Option<Place>| place.map(|place| place.address.addr().to_string()).unwrap_or_default();
    let prefix = |place: Option<Place>| place.map_or(0, |place| place.address.prefix_len());
    let gateway = |place: Option<Place>| {
        place.and_then(|place| place.gateway).map(|gateway| gateway.to_string()).unwrap_or_default()
    };
    json!({
        "IPAMConfig": null, "Links": null, "Aliases": null,
        "MacAddress": endpoint.map(|e| e.mac.to_string()).unwrap_or_default(),
        "DriverOpts": null, "GwPriority": 0, "NetworkID": "",
        "EndpointID": endpoint.map(|e| e.id.as_str()).unwrap_or_default(),
        "Gateway": gateway(v4),
        "IPAddress": address(v4),
        "IPPrefixLen": prefix(v4),
        "IPv6Gateway": gateway(v6),
        "GlobalIPv6Address": address(v6),
        "GlobalIPv6PrefixLen": prefix(v6),
        "DNSNames": null,
    })
}

/// An id for something that has none of its own: the same for as long as what it is made from.
fn digest(parts: &[&str]) -> String {
    hex::encode(Sha256::digest(parts.join("\0")))
}
