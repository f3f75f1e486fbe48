//! Names of things, asked of the engine.

use std::time::Duration;

use serde::Deserialize;

use super::candidates::{Names, State};
use crate::cli::arguments::Caller;
use crate::cli::client::Call;
use crate::cli::context::store::{DEFAULT, Store};
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// How long somebody who pressed a key waits.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    id: String,
    names: Option<Vec<String>>,
    state: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Named {
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Volumes {
    volumes: Option<Vec<Named>>,
}

/// All of a kind; none where the engine does not say, as nobody could read an error here.
pub(super) async fn of(kind: Names, session: &Session, caller: &Caller<'_>) -> Vec<String> {
    match tokio::time::timeout(PATIENCE, ask(kind, session, caller)).await {
        Ok(Ok(names)) => names,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

async fn ask(kind: Names, session: &Session, caller: &Caller<'_>) -> Result<Vec<String>, CliError> {
    let client = &session.client;
    Ok(match kind {
        Names::Containers(state) => {
            let ids =
                session.variables.get("DOCKER_COMPLETION_SHOW_CONTAINER_IDS").is_some_and(|yes| yes == "yes");
            let all: Vec<Container> =
                client.send(Call::get("/containers/json").flag("all", true)).await?.json().await?;
            all.into_iter()
                .filter(|container| fits(&container.state, state))
                .flat_map(|c| container_names(c, ids))
                .collect()
        }
        Names::Images => {
            let all: Vec<Image> = client.send(Call::get("/images/json")).await?.json().await?;
            all.into_iter().flat_map(|image| image.repo_tags.unwrap_or_default()).collect()
        }
        Names::Networks => {
            let all: Vec<Named> = client.send(Call::get("/networks")).await?.json().await?;
            all.into_iter().map(|network| network.name).collect()
        }
        Names::Volumes => {
            let all: Volumes = client.send(Call::get("/volumes")).await?.json().await?;
            all.volumes.unwrap_or_default().into_iter().map(|volume| volume.name).collect()
        }
        Names::Contexts => {
            let mut names: Vec<String> =
                Store::of(&caller.config).list().iter().map(|context| context.name().to_owned()).collect();
            names.push(DEFAULT.to_owned());
            names.sort();
            names
        }
        Names::Variables => session.variables.keys().cloned().collect(),
    })
}

/// Names without their slash. Those with a second one are links of other containers.
fn container_names(container: Container, ids: bool) -> Vec<String> {
    let names = container.names.unwrap_or_default().into_iter();
    let names =
        names.filter_map(|name| Some(name.strip_prefix('/')?.to_owned()).filter(|name| !name.contains('/')));
    ids.then_some(container.id).into_iter().chain(names).collect()
}

fn fits(state: &str, wanted: State) -> bool {
    let runs = matches!(state, "running" | "paused" | "restarting");
    match wanted {
        State::Any => true,
        State::Running => runs,
        State::NotRunning => !runs,
        State::Paused => state == "paused",
        State::NotPaused => runs && state != "paused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_no_names() {
        let container: Container =
            serde_json::from_str(r#"{"Id":"0f","Names":["/web","/other/web"],"State":"paused"}"#).unwrap();
        assert!(fits(&container.state, State::Running) && !fits(&container.state, State::NotPaused));
        assert_eq!(container_names(container, true), ["0f", "web"]);
    }
}
