//! `--use-api-socket`: a container that talks to the engine, with the logins of whoever started it. As Docker does it:
//! the engine's socket is bound, and a `config.json` with the logins is copied in, where `DOCKER_CONFIG` says so.

use std::io;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;

const SOCKET: &str = "/var/run/docker.sock";
/// Where the logins are in the container.
const FOLDER: &str = "/run/secrets/docker";
const VARIABLE: &str = "DOCKER_CONFIG=";

/// Logins that are to be copied into a container once it is made.
pub(super) struct Logins(Map<String, Value>);

/// Adds the socket to the request, and the variable where there are logins: a client that sets it itself knows what it
/// does.
pub(super) async fn plan(body: &mut Value, session: &Session) -> Result<Logins, CliError> {
    let socket = json!({ "Type": "bind", "Source": SOCKET, "Target": SOCKET, "BindOptions": {} });
    push(&mut body["HostConfig"]["Mounts"], socket);
    let env = body["Env"].as_array();
    if env.into_iter().flatten().filter_map(Value::as_str).any(|variable| variable.starts_with(VARIABLE)) {
        return Ok(Logins(Map::new()));
    }
    // Asked for before anything is made.
    let logins = session.credentials.all().await;
    let logins = logins.map_err(|error| CliError::said(format!("resolving credentials failed: {error}")))?;
    if !logins.is_empty() {
        push(&mut body["Env"], format!("{VARIABLE}{FOLDER}").into());
    }
    Ok(Logins(logins))
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

impl Logins {
    /// Copies them into the container that was made.
    pub(super) async fn copy(&self, container: &str, session: &Session) -> Result<(), CliError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let archive = self.archive().map_err(|cause| CliError::Local {
            what: "injecting docker config.json into container failed".to_owned(),
            cause,
        })?;
        let (sender, parts) = mpsc::channel(1);
        // There is room for the one part.
        let _ = sender.try_send(Ok(archive));
        drop(sender);
        let call = Call::put(container_path(container, "/archive")?).query("path", "/").archive(parts);
        session.client.send(call).await.map(drop)
    }

    fn archive(&self) -> io::Result<Bytes> {
        let mut text = serde_json::to_vec_pretty(&json!({ "auths": self.0 }))?;
        text.push(b'\n');
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        let path = format!("{}/config.json", FOLDER.trim_start_matches('/'));
        archive.append_data(&mut header, path, text.as_slice())?;
        Ok(archive.into_inner()?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn logins_come_as_a_file_that_nobody_else_reads() {
        let logins = Logins(json!({ "registry.lan": { "auth": "YTpi" } }).as_object().unwrap().clone());
        let archive = logins.archive().unwrap();
        let mut archive = tar::Archive::new(&archive[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("run/secrets/docker/config.json"));
        assert_eq!(entry.header().mode().unwrap(), 0o600);
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["auths"]["registry.lan"]["auth"], "YTpi");
    }

    #[test]
    fn a_list_is_made_where_there_is_none() {
        let mut body = json!({ "Env": null, "HostConfig": { "Mounts": [1] } });
        push(&mut body["Env"], json!("a=b"));
        push(&mut body["HostConfig"]["Mounts"], json!(2));
        assert_eq!(body, json!({ "Env": ["a=b"], "HostConfig": { "Mounts": [1, 2] } }));
    }
}
