//! The JSON of a container's parts with every field that Go writes, zero or not: clients in other languages
//! index fields that Go's only probe.

use std::collections::BTreeMap;

use holm_api::models;
use holm_api::services::BoundPort;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::engine::{Definition, Engine, Status, container_port};
use crate::volume::DRIVER;

/// `HostConfig` of a container for which nothing was asked. A text, because it is too long for `json!`.
const HOST_CONFIG: &str = r#"{
    "Binds": null, "ContainerIDFile": "", "LogConfig": { "Type": "json-file", "Config": {} },
    "NetworkMode": "bridge", "PortBindings": {},
    "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 }, "AutoRemove": false, "VolumeDriver": "",
    "VolumesFrom": null, "ConsoleSize": [0, 0], "CapAdd": null, "CapDrop": null,
    "CgroupnsMode": "private", "Dns": [], "DnsOptions": [], "DnsSearch": [], "ExtraHosts": null,
    "GroupAdd": null, "IpcMode": "private", "Cgroup": "", "Links": null, "OomScoreAdj": 0, "PidMode": "",
    "Privileged": false, "PublishAllPorts": false, "ReadonlyRootfs": false, "SecurityOpt": null,
    "UTSMode": "", "UsernsMode": "", "ShmSize": 67108864, "Runtime": "runc", "Isolation": "",
    "CpuShares": 0, "Memory": 0, "NanoCpus": 0, "CgroupParent": "", "BlkioWeight": 0,
    "BlkioWeightDevice": [], "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [],
    "BlkioDeviceReadIOps": [], "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0,
    "CpuRealtimePeriod": 0, "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
    "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0, "MemorySwap": 0,
    "MemorySwappiness": null, "OomKillDisable": null, "PidsLimit": null, "Ulimits": [], "CpuCount": 0,
    "CpuPercent": 0, "IOMaximumIOps": 0, "IOMaximumBandwidth": 0
}"#;

/// `Config`
pub(super) fn config(definition: &Definition) -> Value {
    let zero = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
        "AttachStderr": false, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": null, "Image": "", "Volumes": null, "WorkingDir": "", "Entrypoint": null, "OnBuild": null,
        "Labels": {},
    });
    let mut config = filled(zero, &definition.config);
    // Sets that Go leaves out, or writes as null, when they are empty.
    for set in ["ExposedPorts", "Volumes"] {
        let empty = config.get(set).and_then(Value::as_object).is_some_and(Map::is_empty);
        match set {
            "Volumes" if empty => config[set] = Value::Null,
            _ if empty => drop(config.as_object_mut().and_then(|fields| fields.shift_remove(set))),
            _ => {}
        }
    }
    config
}

/// `HostConfig`
pub(super) fn host_config(definition: &Definition) -> Value {
    let zero = serde_json::from_str(HOST_CONFIG).expect("our own text is JSON");
    let mut host = definition.host.clone();
    // Empty and zero mean the default, which is what is shown.
    host.shm_size = host.shm_size.filter(|size| *size > 0);
    host.ipc_mode = host.ipc_mode.filter(|mode| !mode.is_empty());
    host.runtime = host.runtime.filter(|name| !name.is_empty());
    host.cgroupns_mode = host.cgroupns_mode.filter(|mode| *mode != models::HostConfigCgroupnsModeEnum::EMPTY);
    host.log_config = host.log_config.filter(|log| log.typ.as_deref().is_some_and(|name| !name.is_empty()));
    let mut shown = filled(zero, &host);
    if shown["RestartPolicy"]["Name"] == "" {
        shown["RestartPolicy"]["Name"] = json!("no");
    }
    shown
}

/// `Mounts`, with the fields that Go leaves out when they are empty left out.
pub(super) fn mounts(engine: &Engine, definition: &Definition) -> Vec<Value> {
    let shown = definition.mounts.iter().map(|mount| {
        let shown = engine.shown_mount(mount);
        let mut body = json!({ "Type": shown.kind });
        if let Some(name) = &shown.name {
            body["Name"] = json!(name);
        }
        body["Source"] = json!(shown.source);
        body["Destination"] = json!(mount.destination);
        if shown.kind == "volume" {
            body["Driver"] = json!(DRIVER);
        }
        body["Mode"] = json!(mount.mode);
        body["RW"] = json!(mount.writable);
        body["Propagation"] = json!(shown.propagation);
        body
    });
    shown.collect()
}

/// Ports of a container that has a network: what is exposed, and where it is published.
pub(super) fn ports(definition: &Definition, status: &Status) -> Value {
    let mut all: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (protocol, port, bound) in open_ports(definition, status) {
        let places = all.entry(format!("{port}/{protocol}")).or_default();
        places.extend(
            bound.map(
                |bound| json!({ "HostIp": bound.address.to_string(), "HostPort": bound.port.to_string() }),
            ),
        );
    }
    let shown = all.into_iter().map(|(port, places)| {
        let places = if places.is_empty() { Value::Null } else { json!(places) };
        (port, places)
    });
    Value::Object(shown.collect())
}

/// Likewise, as the list shows them.
pub(super) fn port_list(definition: &Definition, status: &Status) -> Vec<Value> {
    let shown = open_ports(definition, status).into_iter().map(|(protocol, port, bound)| match bound {
        None => json!({ "PrivatePort": port, "Type": protocol }),
        Some(bound) => json!({
            "IP": bound.address.to_string(), "PrivatePort": port, "PublicPort": bound.port, "Type": protocol,
        }),
    });
    shown.collect()
}

/// Protocol, number, and where it is published: once for each place, or once without any.
pub(super) fn open_ports(definition: &Definition, status: &Status) -> Vec<(String, u16, Option<BoundPort>)> {
    let bound =
        status.ports.iter().map(|bound| (bound.protocol.to_string(), bound.container_port, Some(*bound)));
    let mut all: Vec<_> = bound.collect();
    for text in definition.config.exposed_ports.iter().flatten().filter(|_| !status.endpoints.is_empty()) {
        if let Ok((protocol, port)) = container_port(text)
            && !all.iter().any(|(other, number, _)| (other.as_str(), *number) == (protocol, port))
        {
            all.push((protocol.to_owned(), port, None));
        }
    }
    // Stable: IPv4 stays before IPv6.
    all.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    all
}

/// `zero` with what is given over it. Fields that `zero` lacks come last.
fn filled(mut zero: Value, given: &impl Serialize) -> Value {
    if let (Value::Object(fields), Ok(Value::Object(given))) = (&mut zero, serde_json::to_value(given)) {
        fields.extend(given);
    }
    zero
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_replaces_what_is_zero() {
        let given = models::HostConfig { memory: Some(5), ..models::HostConfig::default() };
        let shown = filled(json!({ "Memory": 0, "Privileged": false }), &given);
        assert_eq!(shown, json!({ "Memory": 5, "Privileged": false }));
    }
}
