//! Networks, ports, names and addresses.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::{Part, extend, list};
use crate::cli::error::CliError;
use crate::cli::options::{
    Attachment, domain, exposed, extra_host, ip_address, is_mac_address, link, published,
};

#[derive(Debug, clap::Args)]
pub(super) struct NetworkFlags {
    /// Add a custom host-to-IP mapping (host:ip)
    #[arg(long, value_name = "list", value_parser = extra_host)]
    add_host: Vec<String>,
    /// Set custom DNS servers
    #[arg(long, value_name = "list", value_parser = ip_address)]
    dns: Vec<String>,
    /// Set DNS options
    #[arg(long, value_name = "list", alias = "dns-opt")]
    dns_option: Vec<String>,
    /// Set custom DNS search domains
    #[arg(long, value_name = "list", value_parser = domain)]
    dns_search: Vec<String>,
    /// Expose a port or a range of ports
    #[arg(long, value_name = "list")]
    expose: Vec<String>,
    /// IPv4 address (e.g., 172.30.100.104)
    #[arg(long, value_name = "string", default_value = "")]
    ip: String,
    /// IPv6 address (e.g., 2001:db8::33)
    #[arg(long, value_name = "string", default_value = "")]
    ip6: String,
    /// Add link to another container
    #[arg(long, value_name = "list", value_parser = link)]
    link: Vec<String>,
    /// Container IPv4/IPv6 link-local addresses
    #[arg(long, value_name = "list")]
    link_local_ip: Vec<String>,
    /// Container MAC address (e.g., 92:d0:c6:0a:29:33)
    #[arg(long, value_name = "string", default_value = "")]
    mac_address: String,
    /// Connect a container to a network
    #[arg(long, value_name = "network", alias = "net")]
    network: Vec<Attachment>,
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "list", alias = "net-alias")]
    network_alias: Vec<String>,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "list")]
    publish: Vec<String>,
    /// Publish all exposed ports to random ports
    #[arg(short = 'P', long)]
    publish_all: bool,
}

impl NetworkFlags {
    /// Writes what does not belong to one network, and returns the places in networks.
    pub(super) fn write(&self, config: &mut Part, host: &mut Part) -> Result<Value, CliError> {
        if !self.mac_address.is_empty() && !is_mac_address(&self.mac_address) {
            return Err(CliError::said(format!("{} is not a valid mac address", self.mac_address)));
        }
        let (ports, bindings) = self.ports().map_err(CliError::said)?;
        if !ports.is_empty() {
            config.insert("ExposedPorts".to_owned(), ports.into());
        }
        let mode = self.network.first().map_or("default", |network| network.target.as_str());
        extend(
            host,
            json!({
                "NetworkMode": mode,
                "PortBindings": bindings,
                "PublishAllPorts": self.publish_all,
                "Dns": self.dns,
                "DnsOptions": self.dns_option,
                "DnsSearch": self.dns_search,
                "ExtraHosts": list(&self.add_host),
                "Links": list(&self.link),
            }),
        );
        self.endpoints().map_err(CliError::said)
    }

    /// The exposed ports, published ones included, and where the published ones go.
    fn ports(&self) -> Result<(Part, Part), String> {
        let mut ports = Part::new();
        let mut bindings = Part::new();
        for text in &self.publish {
            for one in published(text)? {
                ports.insert(one.port.clone(), json!({}));
                let places = bindings.entry(one.port).or_insert_with(|| json!([]));
                if let Some(places) = places.as_array_mut() {
                    places.push(json!({"HostIp": one.address, "HostPort": one.host_port}));
                }
            }
        }
        for text in &self.expose {
            ports.extend(exposed(text)?.into_iter().map(|port| (port, json!({}))));
        }
        Ok((ports, bindings))
    }

    /// A place in each network. The flags of its own apply to the first one.
    fn endpoints(&self) -> Result<Value, String> {
        let mut endpoints = Map::new();
        let mut networks = self.network.clone();
        if networks.is_empty() {
            networks.push(Attachment::default_network());
        }
        for (at, network) in networks.iter_mut().enumerate() {
            if at == 0 {
                self.apply(network)?;
            }
            let endpoint = network.to_json()?;
            if endpoints.contains_key(&network.target) {
                return Err(format!("network {:?} is specified multiple times", network.target));
            }
            // An engine from before endpoints were sent makes this one by itself.
            if self.network.len() == 1 && network.is_plain() {
                continue;
            }
            endpoints.insert(network.target.clone(), endpoint);
        }
        let user_defined = |network: &&Attachment| network.is_user_defined();
        let count = networks.iter().filter(user_defined).count();
        if count > 0 && count < networks.len() {
            return Err(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
                    .to_owned(),
            );
        }
        Ok(endpoints.into())
    }

    fn apply(&self, network: &mut Attachment) -> Result<(), String> {
        let address = |text: &str| text.parse::<IpAddr>().ok();
        for (both, what) in [
            (
                !network.aliases.is_empty() && !self.network_alias.is_empty(),
                "--network-alias and per-network alias",
            ),
            (network.ipv4.is_some() && !self.ip.is_empty(), "--ip and per-network IPv4 address"),
            (network.ipv6.is_some() && !self.ip6.is_empty(), "--ip6 and per-network IPv6 address"),
            (
                !network.mac_address.is_empty() && !self.mac_address.is_empty(),
                "--mac-address and per-network MAC address",
            ),
            (
                !network.link_local.is_empty() && !self.link_local_ip.is_empty(),
                "--link-local-ip and per-network link-local IP addresses",
            ),
        ] {
            if both {
                return Err(format!("conflicting options: cannot specify both {what}"));
            }
        }
        network.aliases.extend(self.network_alias.iter().cloned());
        // In a network that somebody made, a link is another name; in the default one it is all there is.
        if network.is_user_defined() {
            network.links.extend(self.link.iter().cloned());
        }
        network.ipv4 = network.ipv4.or(address(&self.ip));
        network.ipv6 = network.ipv6.or(address(&self.ip6));
        network.link_local.extend(self.link_local_ip.iter().cloned());
        if !self.mac_address.is_empty() {
            network.mac_address = self.mac_address.clone();
        }
        Ok(())
    }
}
