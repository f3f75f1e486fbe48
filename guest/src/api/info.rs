//! `GET /info` and `GET /system/df`: how the daemon is, and what fills its disk.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::response::Response;
use chrono::{SecondsFormat, Utc};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::version::ApiVersion;
use crate::api::{containers, images, reply, volumes};
use crate::engine::Engine;

/// `GET /info`
pub(super) async fn info(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
) -> Response {
    let mut body = body(&engine);
    fit(&mut body, version);
    reply::json(StatusCode::OK, &body)
}

/// What moby shows of itself to clients of older versions.
fn fit(body: &mut Value, version: ApiVersion) {
    if version < ApiVersion::one(25) {
        body["SecurityOptions"] = json!(["seccomp", "cgroupns"]);
    }
    if version < ApiVersion::one(47) {
        body["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = Value::Null;
        body["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = Value::Null;
    }
    if version < ApiVersion::one(50) {
        body["BridgeNfIptables"] = json!(false);
        body["BridgeNfIp6tables"] = json!(false);
    }
    if version >= ApiVersion::one(49) {
        body["FirewallBackend"] = json!({ "Driver": "nftables" });
        return;
    }
    for commit in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
        body[commit]["Expected"] = body[commit]["ID"].clone();
    }
}

fn body(engine: &Engine) -> Value {
    let mut body = json!({});
    for part in [counts(engine), machine(engine), limits(engine), constants()] {
        if let (Value::Object(body), Value::Object(part)) = (&mut body, part) {
            body.extend(part);
        }
    }
    body
}

fn counts(engine: &Engine) -> Value {
    let states: Vec<&str> = engine.containers().iter().map(|c| c.status().life.word()).collect();
    let count = |wanted: &[&str]| states.iter().filter(|state| wanted.contains(state)).count();
    let running = count(&["running", "restarting"]);
    let paused = count(&["paused"]);
    json!({
        "ID": engine.networks().machine_id().as_str(),
        "Containers": states.len(),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": states.len() - running - paused,
        "Images": engine.images().list().len(),
        "NFd": open_files(),
        "NGoroutines": 0,
        "NEventsListener": engine.events().subscribers(),
        "SystemTime": Utc::now().to_rfc3339_opts(SecondsFormat::Nanos, true),
    })
}

fn machine(engine: &Engine) -> Value {
    let machine = engine.machine();
    json!({
        "DriverStatus": [
            ["Backing Filesystem", backing(engine.layout().data())],
            ["Supports d_type", "true"],
            ["Using metacopy", "false"],
            ["Native Overlay Diff", "true"],
            ["userxattr", "false"],
            ["Hypervisor", machine.hypervisor()],
        ],

        "KernelVersion": machine.kernel(),
        "Architecture": std::env::consts::ARCH,
        "NCPU": machine.processors(),
        "MemTotal": machine.memory(),
        "DockerRootDir": engine.layout().data(),
        "Name": machine.hostname(),
    })
}

/// The data's file system, in moby's words.
fn backing(data: &Path) -> &'static str {
    // linux/magic.h
    match rustix::fs::statfs(data).map(|system| system.f_type) {
        Ok(0xef53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(_) | Err(_) => "<unknown>",
    }
}

fn limits(engine: &Engine) -> Value {
    let has = |name: &str| engine.abilities().controllers.contains(name);
    json!({
        "MemoryLimit": has("memory"),
        "SwapLimit": has("memory"),
        "CpuCfsPeriod": has("cpu"),
        "CpuCfsQuota": has("cpu"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        // cgroup v2 has no such switch.
        "OomKillDisable": false,
        "KernelMemoryTCP": false,
        "Warnings": warnings(has),
    })
}

fn constants() -> Value {
    json!({
        "Driver": "overlay2",
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "local"],
        },
        "IPv4Forwarding": true,
        "Debug": false,
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "OperatingSystem": "Holm",
        "OSVersion": holm_api::VERSION,
        "OSType": "linux",
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
            "IndexConfigs": {
                "docker.io": { "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true },
            },
            "Mirrors": [],
        },
        "GenericResources": null,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": holm_api::VERSION,
        "Runtimes": { "io.containerd.runc.v2": { "path": "holmd" }, "runc": { "path": "holmd" } },
        "DefaultRuntime": "runc",
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": false,
            "Error": "", "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "holmd",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "CDISpecDirs": [],
    })
}

/// moby's words about limits that cannot be set here.
fn warnings(has: impl Fn(&str) -> bool) -> Option<Vec<&'static str>> {
    let all = [
        ("memory", "WARNING: No memory limit support"),
        ("memory", "WARNING: No swap limit support"),
        ("cpu", "WARNING: No cpu cfs quota support"),
        ("cpu", "WARNING: No cpu cfs period support"),
        ("cpu", "WARNING: No cpu shares support"),
        ("cpuset", "WARNING: No cpuset support"),
        ("pids", "WARNING: No pids limit support"),
        ("io", "WARNING: No io.weight support"),
    ];
    let missing: Vec<_> =
        all.into_iter().filter(|(controller, _)| !has(controller)).map(|(_, warning)| warning).collect();
    (!missing.is_empty()).then_some(missing)
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// `GET /system/df`
pub(super) async fn disk_usage(
    State(engine): State<Arc<Engine>>,
    Extension(version): Extension<ApiVersion>,
    query: Query,
) -> Result<Response, ApiError> {
    let types: Vec<&str> = query.all("type").filter(|_| version >= ApiVersion::one(42)).collect();
    if let Some(unknown) =
        types.iter().find(|kind| !["container", "image", "volume", "build-cache"].contains(kind))
    {
        return Err(ApiError::invalid(format!("unknown object type: {unknown}")));
    }
    let wanted = |kind: &str| types.is_empty() || types.contains(&kind);
    let mut body =
        json!({ "LayersSize": 0, "Images": null, "Containers": null, "Volumes": null, "BuildCache": null });
    if wanted("image") {
        body["LayersSize"] = json!(layers_size(&engine));
        body["Images"] = json!(images::summaries(&engine));
    }
    if wanted("container") {
        body["Containers"] = json!(containers::summaries(&engine).await?);
    }
    if wanted("volume") {
        body["Volumes"] = json!(volumes::summaries(&engine).await?);
    }
    if wanted("build-cache") {
        body["BuildCache"] = json!([]);
    }
    if version < ApiVersion::one(42) {
        body["BuilderSize"] = json!(0);
    }
    Ok(reply::json(StatusCode::OK, &body))
}

/// Bytes of all layers, each counted once.
fn layers_size(engine: &Engine) -> u64 {
    let images = engine.images().list();
    let layers: std::collections::HashMap<_, _> =
        images.iter().flat_map(|image| image.layers()).map(|layer| (layer.diff_id, layer.size)).collect();
    layers.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_clients_see_what_their_version_had() {
        let shown = |version: u32| {
            let mut body = constants();
            fit(&mut body, ApiVersion::one(version));
            body
        };
        assert_eq!(shown(24)["SecurityOptions"], json!(["seccomp", "cgroupns"]));
        assert_eq!(shown(48)["RuncCommit"], json!({ "ID": "", "Expected": "" }));
        assert!(shown(48).get("FirewallBackend").is_none());
        assert_eq!(shown(49)["FirewallBackend"]["Driver"], "nftables");
        assert!(shown(49)["RuncCommit"].get("Expected").is_none());
        assert_eq!(shown(49)["BridgeNfIptables"], false);
        assert!(shown(50).get("BridgeNfIptables").is_none());
        let registries = |version| shown(version)["RegistryConfig"].as_object().unwrap().len();
        assert_eq!(registries(46), registries(47) + 2);
    }
}
