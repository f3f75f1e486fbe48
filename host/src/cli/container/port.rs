//! `port`: where a container's ports are published.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::order::natural;
use crate::cli::session::{self, Session};

/// `holm port`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "PRIVATE_PORT[/PROTO]")]
    port: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    network_settings: Settings,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Settings {
    ports: Option<Ports>,
}

/// Places on the host by `80/tcp`.
type Ports = BTreeMap<String, Option<Vec<Place>>>;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Place {
    host_ip: String,
    host_port: String,
}

/// Prints the places of one port, or of all.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::get(container_path(&args.container, "/json")?);
    let inspected: Inspected = session.client.send(call).await?.json().await?;
    let ports = inspected.network_settings.ports.unwrap_or_default();
    let mut lines = match args.port.as_deref().filter(|port| !port.is_empty()) {
        Some(port) => {
            let key = key(port)?;
            let places = ports.get(&key).and_then(Option::as_deref).unwrap_or_default();
            if places.is_empty() {
                return Err(CliError::said(format!(
                    "Error: No public port '{port}' published for {}",
                    args.container
                )));
            }
            places.iter().map(show).collect()
        }
        None => all(&ports),
    };
    lines.sort_by(|a, b| natural(a, b));
    session::print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

fn all(ports: &Ports) -> Vec<String> {
    let places = ports.iter().flat_map(|(port, places)| places.iter().flatten().map(move |p| (port, p)));
    places.map(|(port, place)| format!("{port} -> {}", show(place))).collect()
}

/// `80` and `80/tcp` are the same.
fn key(text: &str) -> Result<String, CliError> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match port.parse::<u16>() {
        Ok(port) => Ok(format!("{port}/{}", if protocol.is_empty() { "tcp" } else { protocol })),
        Err(_) => Err(CliError::said(format!(
            "Error: invalid port ({port}): strconv.ParseUint: parsing {port:?}: invalid syntax"
        ))),
    }
}

fn show(place: &Place) -> String {
    match place.host_ip.contains(':') {
        true => format!("[{}]:{}", place.host_ip, place.host_port),
        false => format!("{}:{}", place.host_ip, place.host_port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_without_a_protocol_is_tcps() {
        assert_eq!(key("80").unwrap(), "80/tcp");
        assert_eq!(key("53/udp").unwrap(), "53/udp");
        assert!(key("x").unwrap_err().to_string().starts_with("Error: invalid port (x): "));
    }
}
