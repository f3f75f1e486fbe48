//! `GET /containers/json`: what `docker ps` shows, and which.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use holm_api::services::BoundPort;
use holm_api::{ContainerRef, Digest, human_duration};
use http::StatusCode;
use serde_json::{Value, json};

use super::{places, shape};
use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::api::query::Query;
use crate::api::reply;
use crate::engine::{Container, Definition, Engine, HealthStatus, Life, State as Stage};

const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];
const HEALTH: [&str; 4] = ["none", "starting", "healthy", "unhealthy"];

/// `GET /containers/json`
pub(super) async fn list(State(engine): State<Arc<Engine>>, query: Query) -> Result<Response, ApiError> {
    let wish = Wish::of(&engine, &query)?;
    let chosen = wish.choose(engine.containers());
    Ok(reply::json(StatusCode::OK, &bodies(&engine, &chosen, query.flag("size")).await?))
}

/// All containers with their sizes, as `system df` shows them.
pub(crate) async fn summaries(engine: &Engine) -> Result<Vec<Value>, ApiError> {
    bodies(engine, &engine.containers(), true).await
}

async fn bodies(engine: &Engine, containers: &[Container], sizes: bool) -> Result<Vec<Value>, ApiError> {
    let mut bodies = Vec::with_capacity(containers.len());
    for container in containers {
        let mut body = body(engine, container);
        if sizes {
            let written = engine.written(container.id()).await?;
            let image = engine.images().get(&container.definition().image.id);
            body["SizeRw"] = json!(written);
            body["SizeRootFs"] = json!(written + image.map_or(0, |image| image.size()));
        }
        bodies.push(body);
    }
    Ok(bodies)
}

/// Which containers a client wants to see.
struct Wish {
    all: bool,
    limit: usize,
    filters: Filters,
    exited: Vec<i32>,
    /// Image ids; `None` asks for none in particular.
    ancestors: Option<HashSet<Digest>>,
    before: Option<Container>,
    since: Option<Container>,
    /// `80/tcp`
    expose: HashSet<String>,
    /// Likewise, of the computer's.
    publish: HashSet<String>,
    is_task: Option<bool>,
    /// Ids by name.
    networks: HashMap<String, String>,
}

impl Wish {
    fn of(engine: &Engine, query: &Query) -> Result<Self, ApiError> {
        let filters = Filters::of(query, &FILTERS)?;
        let mut exited = Vec::new();
        for text in filters.values("exited") {
            exited.push(text.parse().map_err(|_| {
                ApiError::invalid(format!(
                    "invalid filter 'exited={text}': strconv.Atoi: parsing {text:?}: invalid syntax"
                ))
            })?);
        }
        one_of(&filters, "status", &STATES)?;
        one_of(&filters, "health", &HEALTH)?;
        let ancestors = filters.has("ancestor").then(|| {
            let found = filters.values("ancestor").filter_map(|text| engine.images().find(text).ok());
            found.map(|image| image.id()).collect()
        });
        let named = |name: &str| {
            let last = filters.values(name).last();
            last.map(|text| engine.find(&ContainerRef(text.to_owned()))).transpose()
        };
        let mut publish = HashSet::new();
        let mut expose = HashSet::new();
        for (name, ports) in [("publish", &mut publish), ("expose", &mut expose)] {
            for text in filters.values(name) {
                ports.extend(port_range(name, text)?);
            }
        }
        Ok(Self {
            all: query.flag("all") || filters.has("status"),
            limit: query.number::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
            exited,
            ancestors,
            before: named("before")?,
            since: named("since")?,
            expose,
            publish,
            is_task: filters.flag("is-task")?,
            networks: (engine.networks().list().iter())
                .map(|network| (network.name.clone(), network.id.to_string()))
                .collect(),
            filters,
        })
    }

    /// Of all containers, the newest first.
    fn choose(&self, all: Vec<Container>) -> Vec<Container> {
        let mut all = all.into_iter();
        if let Some(before) = &self.before {
            all.find(|container| container.id() == before.id());
        }
        let until_since =
            all.take_while(|container| self.since.as_ref().is_none_or(|since| since.id() != container.id()));
        let chosen = until_since.filter(|container| self.includes(container));
        if self.limit > 0 { chosen.take(self.limit).collect() } else { chosen.collect() }
    }

    fn includes(&self, container: &Container) -> bool {
        let (definition, status) = (&*container.definition(), &container.status());
        let health = container.health().map_or("none", |health| health.status.word());
        let life = &status.life;
        let filters = &self.filters;
        let none = HashMap::new();
        let by_name = || {
            filters.matches("name", &definition.name)
                || filters.matches("name", &format!("/{}", definition.name))
        };
        let by_exit = || {
            self.exited.is_empty()
                || (!life.is_running() && life.started_at.is_some() && self.exited.contains(&life.exit_code))
        };
        let by_network = || {
            let on = |network: &String| {
                let id = self.networks.get(network).map_or("", String::as_str);
                filters
                    .values("network")
                    .any(|wanted| wanted == network || (!wanted.is_empty() && id.starts_with(wanted)))
            };
            !filters.has("network") || definition.endpoints.keys().any(on)
        };
        let by_port = || {
            let wanted = !self.expose.is_empty() || !self.publish.is_empty();
            let is_wanted = |(protocol, port, bound): &(String, u16, Option<BoundPort>)| {
                let published = bound.map(|bound| format!("{}/{protocol}", bound.port));
                self.expose.contains(&format!("{port}/{protocol}"))
                    || published.is_some_and(|port| self.publish.contains(&port))
            };
            !wanted || shape::open_ports(definition, status).iter().any(is_wanted)
        };
        (self.all || self.limit > 0 || life.is_running())
            && by_name()
            && filters.begins("id", definition.id.as_str())
            // No container is a swarm's task, or has Windows' isolation.
            && self.is_task != Some(true)
            && filters.is("health", health)
            && has_volume(filters, definition)
            && filters.labelled("label", definition.config.labels.as_ref().unwrap_or(&none))
            && by_exit()
            && filters.is("status", life.word())
            && self.ancestors.as_ref().is_none_or(|ids| ids.contains(&definition.image.id))
            && by_network()
            && by_port()
    }
}

fn one_of(filters: &Filters, name: &str, known: &[&str]) -> Result<(), ApiError> {
    match filters.values(name).find(|value| !known.contains(value)) {
        None => Ok(()),
        Some(value) => Err(ApiError::invalid(format!(
            "invalid filter '{name}={value}': invalid value for {} ({value}): must be one of {}",
            if name == "status" { "state" } else { "health status" },
            known.join(", ")
        ))),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`.
fn port_range(name: &str, text: &str) -> Result<Vec<String>, ApiError> {
    if text.contains(':') {
        return Err(ApiError::invalid(format!("filter for '{name}' should not contain ':': {text}")));
    }
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => Err(ApiError::invalid(format!(
            "error while looking up for {name} {text}: invalid port range: {ports}"
        ))),
    }
}

fn body(engine: &Engine, container: &Container) -> Value {
    let (definition, status) = (&*container.definition(), &container.status());
    // A name that means another image by now would be a lie.
    let image = &definition.image;
    let still = engine.images().find(&image.reference).is_ok_and(|found| found.id() == image.id);
    let shown = if still { image.reference.clone() } else { image.id.to_string() };
    let mode = definition.host.network_mode.as_deref().unwrap_or("bridge");
    json!({
        "Id": definition.id.as_str(),
        "Names": [format!("/{}", definition.name)],
        "Image": shown,
        "ImageID": image.id.to_string(),
        "Command": command(definition),
        "Created": definition.created.timestamp(),
        "Ports": shape::port_list(definition, status),
        "Labels": definition.config.labels.clone().unwrap_or_default(),
        "State": status.life.word(),
        "Status": status_text(&status.life, container.health().map(|health| health.status)),
        "HostConfig": { "NetworkMode": mode },
        "NetworkSettings": { "Networks": places::networks(engine, definition, status) },
        "Mounts": shape::mounts(engine, definition),
    })
}

/// Whether it has one of the volumes, by name, source or destination, or none is asked for.
fn has_volume(filters: &Filters, definition: &Definition) -> bool {
    let mounted = |wanted: &str| {
        definition.mounts.iter().any(|mount| mount.destination == wanted || mount.is_of(wanted))
    };
    !filters.has("volume") || filters.values("volume").any(mounted)
}

/// Arguments with a space are quoted, as in Docker.
fn command(definition: &Definition) -> String {
    let args = definition.args.iter().map(|arg| match arg.contains(' ') {
        true => format!("'{arg}'"),
        false => arg.clone(),
    });
    std::iter::once(definition.path.clone()).chain(args).collect::<Vec<_>>().join(" ")
}

fn status_text(life: &Life, health: Option<HealthStatus>) -> String {
    let ago = |at: Option<chrono::DateTime<Utc>>| {
        // A clock that was set back makes the past the future, and then it was just now.
        human_duration(at.map_or(0, |at| (Utc::now() - at).num_seconds().try_into().unwrap_or(0)))
    };
    match life.state {
        Stage::Running { .. } => {
            let health = match health {
                None => "",
                Some(HealthStatus::Starting) => " (health: starting)",
                Some(HealthStatus::Healthy) => " (healthy)",
                Some(HealthStatus::Unhealthy) => " (unhealthy)",
            };
            format!("Up {}{health}", ago(life.started_at))
        }
        Stage::Paused { .. } => format!("Up {} (Paused)", ago(life.started_at)),
        Stage::Restarting => format!("Restarting ({}) {} ago", life.exit_code, ago(life.finished_at)),
        Stage::Removing => "Removal In Progress".to_owned(),
        Stage::Dead | Stage::Removed => "Dead".to_owned(),
        Stage::Created => "Created".to_owned(),
        Stage::Starting if life.started_at.is_none() => "Created".to_owned(),
        Stage::Starting | Stage::Exited => {
            format!("Exited ({}) {} ago", life.exit_code, ago(life.finished_at))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_asked_for_one_by_one_or_as_a_range() {
        assert_eq!(port_range("expose", "80").unwrap(), ["80/tcp"]);
        assert_eq!(port_range("expose", "80-81/udp").unwrap(), ["80/udp", "81/udp"]);
        for wrong in ["", "x", "81-80", "1:2", "70000"] {
            assert!(port_range("expose", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_status_that_no_container_has_is_refused() {
        let query = Query::parse("filters=%7B%22status%22%3A%5B%22asleep%22%5D%7D");
        let filters = Filters::of(&query, &FILTERS).unwrap();
        assert_eq!(
            one_of(&filters, "status", &STATES).unwrap_err().into_parts().1,
            "invalid filter 'status=asleep': invalid value for state (asleep): must be one of created, running, paused, restarting, removing, exited, dead"
        );
    }
}
