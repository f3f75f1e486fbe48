//! `network connect`: puts a container into a network.

use serde_json::{Map, Value, json};

use super::network_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::options::{csv_fields, integer, link};
use crate::cli::session::Session;

/// Docker's words, of which a doc comment would lose the full stop.
const PRIORITY_HELP: &str =
    "Highest gw-priority provides the default gateway. Accepts positive and negative values.";

/// `holm network connect`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings")]
    alias: Vec<String>,
    /// driver options for the network
    #[arg(long, value_name = "strings")]
    driver_opt: Vec<String>,
    #[arg(long, value_name = "int", default_value = "0", value_parser = integer, help = PRIORITY_HELP)]
    gw_priority: i64,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "string", default_value = "")]
    ip: String,
    /// IPv6 address (e.g., "2001:db8::33")
    #[arg(long, value_name = "string", default_value = "")]
    ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = link)]
    link: Vec<String>,
    /// Add a link-local address for the container
    #[arg(long, value_name = "strings")]
    link_local_ip: Vec<String>,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

/// Does it, and says nothing.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let body = args.body().map_err(CliError::said)?;
    let call = Call::post(network_path(&args.network, "/connect")).json(&body)?;
    session.client.send(call).await.map(drop)
}

impl Args {
    pub(super) fn body(&self) -> Result<Value, String> {
        let mut options = Map::new();
        for option in csv_fields(&self.driver_opt)? {
            let (name, value) = option
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, _)| !name.is_empty())
                .ok_or("invalid key/value pair format in driver options")?;
            options.insert(name.to_owned(), value.into());
        }
        let mut addresses = Map::new();
        for (name, address) in [("IPv4Address", &self.ip), ("IPv6Address", &self.ip6)] {
            if !address.is_empty() {
                addresses.insert(name.to_owned(), address.as_str().into());
            }
        }
        let link_local = csv_fields(&self.link_local_ip)?;
        if !link_local.is_empty() {
            addresses.insert("LinkLocalIPs".to_owned(), link_local.into());
        }
        Ok(json!({
            "Container": self.container,
            "EndpointConfig": {
                "IPAMConfig": addresses,
                "Links": if self.link.is_empty() { Value::Null } else { json!(self.link) },
                "Aliases": csv_fields(&self.alias)?,
                "DriverOpts": options,
                "GwPriority": self.gw_priority,
            },
        }))
    }
}
