//! `GET /containers/json`: what `docker ps` shows, and which.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use chrono::Utc;
use holm_api::services::BoundPort;
use holm_api::{ContainerRef, Digest, human_duration};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::places::{self, Place};
use super::shape;
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

/// One container as the list shows it. A type and no `Value`: there may be thousands of them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    id: String,
    names: [String; 1],
    image: String,
    #[serde(rename = "ImageID")]
    image_id: String,
    command: String,
    created: i64,
    ports: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
    labels: HashMap<String, String>,
    state: &'static str,
    status: String,
    host_config: HostSummary,
    network_settings: NetworkSummary,
    mounts: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostSummary {
    network_mode: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<HashMap<String, String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSummary {
    networks: BTreeMap<String, Place>,
}

/// All containers with their sizes, as `system df` shows them.
pub(crate) async fn summaries(engine: &Engine) -> Result<Vec<Summary>, ApiError> {
    bodies(engine, &engine.containers(), true).await
}

async fn bodies(engine: &Engine, containers: &[Container], sizes: bool) -> Result<Vec<Summary>, ApiError> {
    let mut meanings = Meanings { engine, known: HashMap::new() };
    let mut bodies = Vec::with_capacity(containers.len());
    for container in containers {
        let mut body = summary(engine, &mut meanings, container);
        if sizes {
            let written = engine.written(container.id()).await?;
            let image = engine.images().get(&container.definition().image.id);
            body.size_rw = Some(written);
            body.size_root_fs = Some(written + image.map_or(0, |image| image.size()));
        }
        bodies.push(body);
    }
    Ok(bodies)
}

/// What names of images mean by now, each asked for once: many containers have the same.
struct Meanings<'a> {
    engine: &'a Engine,
    known: HashMap<String, Option<Digest>>,
}

impl Meanings<'_> {
    fn of(&mut self, reference: &str) -> Option<Digest> {
        if let Some(known) = self.known.get(reference) {
            return *known;
        }
        let found = self.engine.images().find(reference).ok().map(|image| image.id());
        self.known.insert(reference.to_owned(), found);
        found
    }
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

fn summary(engine: &Engine, meanings: &mut Meanings<'_>, container: &Container) -> Summary {
    let (definition, status) = (&*container.definition(), &container.status());
    let image = &definition.image;
    // A name that means another image by now would be a lie.
    let still = meanings.of(&image.reference) == Some(image.id);
    let host = &definition.host;
    Summary {
        id: definition.id.to_string(),
        names: [format!("/{}", definition.name)],
        image: if still { image.reference.clone() } else { image.id.to_string() },
        image_id: image.id.to_string(),
        command: command(definition),
        created: definition.created.timestamp(),
        ports: shape::port_list(definition, status),
        size_rw: None,
        size_root_fs: None,
        labels: definition.config.labels.clone().unwrap_or_default(),
        state: status.life.word(),
        status: status_text(&status.life, container.health().map(|health| health.status)),
        host_config: HostSummary {
            network_mode: host.network_mode.clone().unwrap_or_else(|| "bridge".to_owned()),
            annotations: host.annotations.clone().filter(|annotations| !annotations.is_empty()),
        },
        network_settings: NetworkSummary { networks: places::networks(engine, definition, status) },
        mounts: shape::mounts(engine, definition),
    }
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
