//! `GET /containers/{name}/json`

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use chrono::{DateTime, SecondsFormat, Utc};
use holm_api::ExecId;
use http::StatusCode;
use serde_json::{Value, json};

use super::{find, places, shape};
use crate::api::error::ApiError;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::{Container, Engine, Health, Life, State as Stage, log_driver, log_path};

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `GET /containers/{name}/json`
pub(super) async fn inspect(
    State(engine): State<Arc<Engine>>,
    Path(name): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    let container = find(&engine, &name)?;
    let mut body = body(&engine, &container);
    if query.flag("size") {
        let written = engine.written(container.id()).await?;
        let image = engine.images().get(&container.definition().image.id);
        body["SizeRw"] = json!(written);
        body["SizeRootFs"] = json!(written + image.map_or(0, |image| image.size()));
    }
    Ok(reply::json(StatusCode::OK, &body))
}

fn body(engine: &Engine, container: &Container) -> Value {
    let definition = &*container.definition();
    let status = container.status();
    let folder = engine.layout().container(container.id());
    // Where another driver keeps it is nobody's business.
    let log = if log_driver(definition) == "json-file" {
        log_path(definition, &folder).display().to_string()
    } else {
        String::new()
    };
    let mut host = shape::host_config(definition);
    // Names of today, not the ids that are kept.
    host["Links"] = json!(engine.shown_links(definition));
    json!({
        "Id": definition.id.as_str(),
        "Created": time(Some(definition.created)),
        "Path": definition.path,
        "Args": definition.args,
        "State": state(&status.life, container.health()),
        "Image": definition.image.id.to_string(),
        "ResolvConfPath": folder.join("resolv.conf"),
        "HostnamePath": folder.join("hostname"),
        "HostsPath": folder.join("hosts"),
        "LogPath": log,
        "Name": format!("/{}", definition.name),
        "RestartCount": status.life.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": exec_ids(engine, container),
        "HostConfig": host,
        "GraphDriver": {
            "Data": {
                "ID": definition.id.as_str(),
                "MergedDir": folder.join("bundle/rootfs"),
                "UpperDir": folder.join("upper"),
                "WorkDir": folder.join("work"),
            },
            "Name": "overlay2",
        },
        "Mounts": shape::mounts(engine, definition),
        "Config": shape::config(definition),
        "NetworkSettings": places::network_settings(engine, definition, &status),
    })
}

/// As Go writes a list: null where it is empty.
fn exec_ids(engine: &Engine, container: &Container) -> Option<Vec<ExecId>> {
    Some(engine.open_execs(container)).filter(|ids| !ids.is_empty())
}

fn state(life: &Life, health: Option<Health>) -> Value {
    let mut state = json!({
        "Status": life.word(),
        "Running": life.is_running(),
        "Paused": life.is_paused(),
        "Restarting": life.state == Stage::Restarting,
        "OOMKilled": life.oom_killed,
        "Dead": matches!(life.state, Stage::Dead | Stage::Removed),
        "Pid": life.pid().unwrap_or(0),
        "ExitCode": life.exit_code,
        "Error": life.error,
        "StartedAt": time(life.started_at),
        "FinishedAt": time(life.finished_at),
    });
    if let Some(health) = health {
        state["Health"] = health_body(&health);
    }
    state
}

fn health_body(health: &Health) -> Value {
    let results = health.log.iter().map(|result| {
        json!({
            "Start": time(Some(result.start)),
            "End": time(Some(result.end)),
            "ExitCode": result.exit_code,
            "Output": result.output,
        })
    });
    json!({
        "Status": health.status.word(),
        "FailingStreak": health.failing_streak,
        "Log": results.collect::<Vec<_>>(),
    })
}

/// RFC 3339 with as many digits as there are.
pub(crate) fn time(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}
