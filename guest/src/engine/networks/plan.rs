//! From what a client asks for to a network that can be made: moby's checks in moby's words, and a subnet where none
//! was named. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use holm_api::NetworkId;
use ipnet::IpNet;

use super::mode::PREDEFINED;
use super::options::BridgeOptions;
use super::record::{Driver, Ipam, IpamConfig, Network, Subnet};
use crate::engine::EngineError;
use crate::network::{Addresses, Family, pools};

const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// What a client wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreateNetwork {
    pub(crate) name: String,
    /// Empty: a bridge.
    pub(crate) driver: String,
    pub(crate) scope: String,
    /// `None`: as the options say, and yes otherwise.
    pub(crate) ipv4: Option<bool>,
    /// `None`: as the options say, and no otherwise.
    pub(crate) ipv6: Option<bool>,
    pub(crate) ipam: Option<Ipam>,
    pub(crate) internal: bool,
    pub(crate) attachable: bool,
    pub(crate) ingress: bool,
    pub(crate) config_only: bool,
    /// `None` or empty: of none.
    pub(crate) config_from: Option<String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// What a plan has to fit into.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// All networks there are.
    pub(super) networks: &'a [Arc<Network>],
    /// Subnets that are somebody else's: the computer's routes, the machine's own way out.
    pub(super) elsewhere: &'a [IpNet],
    /// The machine's part of its IPv6 subnets.
    pub(super) machine: [u8; 5],
}

/// Checks the wish and fills in what it leaves open.
pub(super) fn plan(
    wish: CreateNetwork,
    around: &Surroundings,
    id: NetworkId,
    created: DateTime<Utc>,
) -> Result<Network, EngineError> {
    if PREDEFINED.contains(&wish.name.as_str()) || wish.name == "default" {
        let message = format!("operation is not permitted on predefined {} network ", wish.name);
        return Err(EngineError::Forbidden(message));
    }
    if wish.driver == "overlay" {
        return Err(EngineError::Forbidden(NO_MANAGER.to_owned()));
    }
    let enabled = |family| BridgeOptions::enabled(&wish.options, family);
    let (by_option_4, by_option_6) = (enabled(Family::V4)?, enabled(Family::V6)?);
    let ipv4 = wish.ipv4.or(by_option_4).unwrap_or(true);
    let ipv6 = wish.ipv6.or(by_option_6).unwrap_or(false);
    let ipam = wish.ipam.unwrap_or_default();
    check_ipam(&ipam.config, ipv6)?;
    if wish.name.trim().is_empty() {
        return Err(EngineError::Invalid("invalid name: name is empty".to_owned()));
    }
    if around.networks.iter().any(|network| network.name == wish.name) {
        return Err(EngineError::Conflict(format!("network with name {} already exists", wish.name)));
    }
    let mut network = Network {
        id,
        name: wish.name,
        created,
        driver: Driver::Null,
        ipv4,
        ipv6,
        internal: wish.internal,
        attachable: wish.attachable,
        config_only: wish.config_only,
        config_from: wish.config_from.unwrap_or_default(),
        options: wish.options,
        labels: wish.labels,
        ipam: Ipam {
            driver: Some(ipam.driver)
                .filter(|driver| !driver.is_empty())
                .unwrap_or_else(|| "default".to_owned()),
            ..ipam
        },
        subnets: Vec::new(),
    };
    if network.config_only {
        if wish.ingress || network.internal || network.attachable || !wish.scope.is_empty() {
            return Err(forbidden(
                "configuration network can only contain network specific fields. Network operator fields like [ ingress | internal | attachable | scope ] are not supported.",
            ));
        }
        if !network.config_from.is_empty() {
            return Err(forbidden("a configuration network cannot depend on another configuration network"));
        }
        return Ok(network);
    }
    network.driver = match wish.driver.as_str() {
        "" | "bridge" => Driver::Bridge,
        only @ ("host" | "null") => {
            return Err(EngineError::Forbidden(format!("only one instance of {only:?} network is allowed")));
        }
        other => {
            return Err(EngineError::NotFound(format!(
                "could not find plugin {other} in v1 plugin registry: plugin not found"
            )));
        }
    };
    if wish.ingress {
        return Err(forbidden("Ingress network can only be global scope network"));
    }
    if wish.scope == "swarm" {
        return Err(forbidden("cannot create a swarm scoped network when swarm is not active"));
    }
    if !network.config_from.is_empty() {
        take_configuration(&mut network, around)?;
    }
    if network.ipam.driver != "default" {
        return Err(EngineError::NotFound(format!(
            "could not find plugin {} in v1 plugin registry: plugin not found",
            network.ipam.driver
        )));
    }
    let options = BridgeOptions::parse(&network.options)?;
    if options.isolated.contains(&true) && !network.internal {
        return Err(EngineError::Internal(
            "gateway mode 'isolated' can only be used for an internal network".to_owned(),
        ));
    }
    network.subnets = subnets(&network, &options, around)?;
    check_interface(&network, around)?;
    Ok(network)
}

/// The configuration of the network that this one is to be like.
fn take_configuration(network: &mut Network, around: &Surroundings) -> Result<(), EngineError> {
    let own = network.ipam.driver != "default"
        || !network.ipv4
        || network.ipv6
        || !network.labels.is_empty()
        || network.ipam.options.as_ref().is_some_and(|options| !options.is_empty())
        || !network.ipam.config.is_empty();
    if own {
        return Err(forbidden(
            "user specified configurations are not supported if the network depends on a configuration network",
        ));
    }
    if !network.options.is_empty() {
        return Err(forbidden(
            "network driver options are not supported if the network depends on a configuration network",
        ));
    }
    let from = around.networks.iter().find(|other| other.config_only && other.name == network.config_from);
    let Some(from) = from else {
        return Err(EngineError::NotFound(format!(
            "configuration network {:?} does not exist",
            network.config_from
        )));
    };
    network.ipv4 = from.ipv4;
    network.ipv6 = from.ipv6;
    network.ipam = from.ipam.clone();
    network.options = from.options.clone();
    network.labels = from.labels.clone();
    Ok(())
}

fn subnets(
    network: &Network,
    options: &BridgeOptions,
    around: &Surroundings,
) -> Result<Vec<Subnet>, EngineError> {
    let mut all = Vec::new();
    for (family, wanted, isolated) in
        [(Family::V4, network.ipv4, options.isolated[0]), (Family::V6, network.ipv6, options.isolated[1])]
    {
        if !wanted {
            continue;
        }
        let is_of = |config: &&IpamConfig| config.subnet.contains(':') == (family == Family::V6);
        let mut configured = network.ipam.config.iter().filter(is_of);
        let config = configured.next();
        if configured.next().is_some() {
            return Err(forbidden("bridge driver doesn't support multiple subnets"));
        }
        all.push(subnet(config, family, isolated, around)?);
    }
    Ok(all)
}

fn subnet(
    config: Option<&IpamConfig>,
    family: Family,
    isolated: bool,
    around: &Surroundings,
) -> Result<Subnet, EngineError> {
    let taken: Vec<IpNet> =
        around.networks.iter().flat_map(|network| &network.subnets).map(|subnet| subnet.net).collect();
    let full = || EngineError::Invalid("all predefined address pools have been fully subnetted".to_owned());
    let not_free = taken.iter().chain(around.elsewhere);
    let Some(config) = config else {
        let net = match family {
            Family::V4 => pools::free_v4(not_free),
            Family::V6 => pools::free_v6(around.machine, not_free),
        };
        return reserved(net.ok_or_else(full)?, &IpamConfig::default(), isolated);
    };
    let net: IpNet = config.subnet.parse().map_err(|_| full())?;
    if !pools::is_free(net, taken.iter()) {
        return Err(forbidden("invalid pool request: Pool overlaps with other one on this address space"));
    }
    reserved(net, config, isolated)
}

/// The subnet with its gateway, and the addresses that nobody gets. The texts were checked before.
fn reserved(net: IpNet, config: &IpamConfig, isolated: bool) -> Result<Subnet, EngineError> {
    let range = config.range.parse().ok();
    let mut addresses = Addresses::new(net, range);
    let no_gateway = || {
        let what = "requested address is out of range";
        EngineError::Internal(format!("failed to allocate gateway ({}): {what}", config.gateway))
    };
    let wanted: Option<IpAddr> = config.gateway.parse().ok();
    let gateway = match wanted {
        Some(gateway) => {
            addresses.take(gateway).map_err(|_| no_gateway())?;
            Some(gateway)
        }
        None if isolated => None,
        // The subnet's first, whatever the range, unless the auxiliary ones have it.
        None => {
            let auxiliary: Vec<IpAddr> =
                config.auxiliary.values().filter_map(|text| text.parse().ok()).collect();
            let mut all = Addresses::new(net, range);
            for address in auxiliary {
                // One outside of what containers can have is nobody's anyway.
                let _ = all.take(address);
            }
            Some(all.take_lowest().map_err(|_| no_gateway())?)
        }
    };
    let auxiliary = config.auxiliary.values().filter_map(|text| text.parse().ok()).collect();
    Ok(Subnet { net, range, gateway, auxiliary })
}

fn check_interface(network: &Network, around: &Surroundings) -> Result<(), EngineError> {
    let interface = network.interface();
    let other = around
        .networks
        .iter()
        .find(|other| other.driver == Driver::Bridge && !other.config_only && other.interface() == interface);
    match other {
        None => Ok(()),
        Some(other) => Err(EngineError::Forbidden(format!(
            "cannot create network {} ({interface}): conflicts with network {} ({interface}): networks have same bridge name",
            network.id, other.id
        ))),
    }
}

/// moby's `ValidateIPAM`, which tells all that is wrong at once.
fn check_ipam(configs: &[IpamConfig], ipv6: bool) -> Result<(), EngineError> {
    let mut wrong = Vec::new();
    for config in configs {
        let Ok(net) = config.subnet.parse::<IpNet>() else {
            wrong.push(format!("invalid subnet {}: invalid CIDR block notation", config.subnet));
            continue;
        };
        if net.addr().is_ipv6() && !ipv6 {
            continue;
        }
        if net != net.trunc() {
            wrong.push(format!("invalid subnet {net}: it should be {}", net.trunc()));
        }
        wrong.extend(wrong_in_range(&config.range, net));
        let wrong_address = |text: &str| wrong_address(text, net).map(|why| (text.to_owned(), why));
        if let Some((gateway, why)) = wrong_address(&config.gateway) {
            wrong.push(format!("invalid gateway {gateway}: {why}"));
        }
        for (name, address) in &config.auxiliary {
            if let Some((_, why)) = wrong_address(address) {
                wrong.push(format!("invalid auxiliary address {name}: {why}"));
            }
        }
    }
    match joined(wrong) {
        None => Ok(()),
        Some(wrong) => Err(EngineError::Invalid(format!("invalid network config:\n{wrong}"))),
    }
}

fn wrong_in_range(text: &str, net: IpNet) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let Ok(range) = text.parse::<IpNet>() else {
        return vec![format!("invalid ip-range {text}: invalid CIDR block notation")];
    };
    if range.addr().is_ipv4() != net.addr().is_ipv4() {
        return vec![format!("invalid ip-range {range}: parent subnet is an {} block", family(net))];
    }
    let mut wrong = Vec::new();
    if range.prefix_len() < net.prefix_len() {
        wrong.push(format!("invalid ip-range {range}: CIDR block is bigger than its parent subnet {net}"));
    }
    if range != range.trunc() {
        wrong.push(format!("invalid ip-range {range}: it should be {}", range.trunc()));
    }
    if !pools::overlap(&net, &range) {
        wrong.push(format!("invalid ip-range {range}: parent subnet {net} doesn't contain ip-range"));
    }
    wrong
}

fn wrong_address(text: &str, net: IpNet) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let Ok(address) = text.parse::<IpAddr>() else { return Some("invalid address".to_owned()) };
    if address.is_ipv4() != net.addr().is_ipv4() {
        return Some(format!("parent subnet is an {} block", family(net)));
    }
    (!net.contains(&address)).then(|| format!("parent subnet {net} doesn't contain this address"))
}

fn family(net: IpNet) -> &'static str {
    if net.addr().is_ipv4() { "IPv4" } else { "IPv6" }
}

/// As moby joins several errors; `None` where there are none.
pub(super) fn joined(mut errors: Vec<String>) -> Option<String> {
    match errors.len() {
        0 => None,
        1 => errors.pop(),
        _ => {
            let each = errors.iter().map(|error| format!("* {}", error.replace('\n', "\n\t")));
            Some(each.collect::<Vec<_>>().join("\n"))
        }
    }
}

fn forbidden(message: &str) -> EngineError {
    EngineError::Forbidden(message.to_owned())
}

#[cfg(test)]
mod tests;
