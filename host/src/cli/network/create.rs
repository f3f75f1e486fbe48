//! `network create`: a network for containers to find each other in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::cli::client::Call;
use crate::cli::container::key_value;
use crate::cli::error::CliError;
use crate::cli::options::csv_fields;
use crate::cli::session::{self, Session};

/// `holm network create`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 or IPv6 addresses used by Network driver (default map[])
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// The network from which to copy the configuration
    #[arg(long, value_name = "string", default_value = "")]
    config_from: String,
    /// Create a configuration only network
    #[arg(long)]
    config_only: bool,
    /// Driver to manage the Network
    #[arg(short, long, value_name = "string", default_value = "bridge")]
    driver: String,
    /// IPv4 or IPv6 Gateway for the master subnet
    #[arg(long, value_name = "strings")]
    gateway: Vec<String>,
    /// Create swarm routing-mesh network
    #[arg(long)]
    ingress: bool,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "strings")]
    ip_range: Vec<String>,
    /// IP Address Management Driver
    #[arg(long, value_name = "string", default_value = "default")]
    ipam_driver: String,
    /// Set IPAM driver specific options (default map[])
    #[arg(long, value_name = "map")]
    ipam_opt: Vec<String>,
    #[command(flatten)]
    families: Families,
    /// Set metadata on a network
    #[arg(long, value_name = "list", value_parser = key_value::label)]
    label: Vec<String>,
    /// Set driver specific options (default map[])
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Control the network's scope
    #[arg(long, value_name = "string", default_value = "")]
    scope: String,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "strings")]
    subnet: Vec<String>,
    #[arg(required = true, value_name = "NETWORK")]
    network: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warning: String,
}

/// Makes the network and prints its id.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::post("/networks/create").json(&args.body().map_err(CliError::said)?)?;
    let Created { id, warning } = session.client.send(call).await?.json().await?;
    if !warning.is_empty() {
        session::warn(&format!("WARNING: {warning}"));
    }
    session::print_line(&id)
}

impl Args {
    fn body(&self) -> Result<Value, String> {
        let mut body = json!({
            "Name": self.network,
            "Driver": self.driver,
            "Scope": self.scope,
            "IPAM": {"Driver": self.ipam_driver, "Options": map(&self.ipam_opt), "Config": self.pools()?},
            "Internal": self.internal,
            "Attachable": self.attachable,
            "Ingress": self.ingress,
            "ConfigOnly": self.config_only,
            "ConfigFrom": Value::Null,
            "Options": map(&self.opt),
            "Labels": map(&self.label),
        });
        if !self.config_from.is_empty() {
            body["ConfigFrom"] = json!({"Network": self.config_from});
        }
        for (name, wanted) in [("EnableIPv4", self.families.ipv4), ("EnableIPv6", self.families.ipv6)] {
            if let Some(wanted) = wanted {
                body[name] = wanted.into();
            }
        }
        Ok(body)
    }

    /// The subnets, each with the range, the gateway and the reserved addresses that lie in it.
    fn pools(&self) -> Result<Vec<Value>, String> {
        let (subnets, ranges) = (csv_fields(&self.subnet)?, csv_fields(&self.ip_range)?);
        let gateways = csv_fields(&self.gateway)?;
        if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
            return Err("every ip-range or gateway must have a corresponding subnet".to_owned());
        }
        let mut pools: Vec<Pool> = Vec::with_capacity(subnets.len());
        for subnet in subnets {
            for other in &pools {
                if contains(&subnet, &other.subnet)? || contains(&other.subnet, &subnet)? {
                    return Err("multiple overlapping subnet configuration is not supported".to_owned());
                }
            }
            pools.push(Pool { subnet, ..Pool::default() });
        }
        for range in ranges {
            cidr(&range)?;
            let pool = holding(&mut pools, &range)?
                .ok_or_else(|| format!("no matching subnet for range {range}"))?;
            if let Some(other) = &pool.range {
                return Err(format!(
                    "cannot configure multiple ranges ({range}, {other}) on the same subnet ({})",
                    pool.subnet
                ));
            }
            pool.range = Some(range);
        }
        for gateway in gateways {
            let pool = holding(&mut pools, &gateway)?
                .ok_or_else(|| format!("no matching subnet for gateway {gateway}"))?;
            if let Some(other) = &pool.gateway {
                return Err(format!(
                    "cannot configure multiple gateways ({gateway}, {other}) for the same subnet ({})",
                    pool.subnet
                ));
            }
            pool.gateway = Some(gateway);
        }
        for text in &self.aux_address {
            let (name, address) = text.split_once('=').unwrap_or((text, ""));
            let pool = holding(&mut pools, address)?
                .ok_or_else(|| format!("no matching subnet for aux-address {address}"))?;
            pool.reserved.insert(name.to_owned(), address.to_owned());
        }
        Ok(pools.into_iter().map(Pool::into_json).collect())
    }
}

/// Which kinds of addresses there are; `None` leaves it to the engine.
#[derive(Debug, clap::Args)]
struct Families {
    /// Enable or disable IPv4 address assignment (default true)
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::boolean)]
    ipv4: Option<bool>,
    /// Enable or disable IPv6 address assignment
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = crate::cli::flags::boolean)]
    ipv6: Option<bool>,
}

#[derive(Default)]
struct Pool {
    subnet: String,
    range: Option<String>,
    gateway: Option<String>,
    reserved: BTreeMap<String, String>,
}

impl Pool {
    fn into_json(self) -> Value {
        let mut pool = Map::from_iter([("Subnet".to_owned(), Value::from(self.subnet))]);
        for (name, value) in [("IPRange", self.range), ("Gateway", self.gateway)] {
            if let Some(value) = value {
                pool.insert(name.to_owned(), value.into());
            }
        }
        if !self.reserved.is_empty() {
            pool.insert("AuxiliaryAddresses".to_owned(), json!(self.reserved));
        }
        pool.into()
    }
}

/// The first pool that an address or a range lies in.
fn holding<'a>(pools: &'a mut [Pool], inner: &str) -> Result<Option<&'a mut Pool>, String> {
    for pool in pools {
        if contains(&pool.subnet, inner)? {
            return Ok(Some(pool));
        }
    }
    Ok(None)
}

/// Whether the address `inner`, or the first one of the range, lies in the subnet. What is no address lies in
/// none.
fn contains(subnet: &str, inner: &str) -> Result<bool, String> {
    let (network, bits) = cidr(subnet).map_err(|error| format!("invalid subnet: {error}"))?;
    let address = match inner.contains('/') {
        true => cidr(inner)?.0,
        false => match inner.parse() {
            Ok(address) => address,
            Err(_) => return Ok(false),
        },
    };
    Ok(match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            network.to_bits() & mask == address.to_bits() & mask
        }
        _ => false,
    })
}

fn cidr(text: &str) -> Result<(IpAddr, u32), String> {
    let wrong = || format!("invalid CIDR address: {text}");
    let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
    Ok((address, bits))
}

fn map(texts: &[String]) -> Value {
    let pairs = texts.iter().map(|text| text.split_once('=').unwrap_or((text, "")));
    pairs.map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>().into()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::network::{connect, disconnect};

    #[derive(Debug, clap::Parser)]
    enum Command {
        Create(Args),
        Connect(connect::Args),
        Disconnect(disconnect::Args),
    }

    fn body(words: &[&str]) -> Result<Value, String> {
        let command = crate::cli::flags::as_docker_reads_them(Command::command());
        let matches = command.try_get_matches_from(words).map_err(|error| error.to_string())?;
        match Command::from_arg_matches(&matches).map_err(|error| error.to_string())? {
            Command::Create(args) => args.body(),
            Command::Connect(args) => args.body(),
            Command::Disconnect(args) => Ok(args.body()),
        }
    }

    /// Takes out what stands in Docker's request only because its type is that of an answer.
    fn without_answers(mut body: Value) -> Value {
        if let Some(endpoint) = body.get_mut("EndpointConfig").and_then(Value::as_object_mut) {
            for name in [
                "MacAddress",
                "NetworkID",
                "EndpointID",
                "Gateway",
                "IPAddress",
                "IPPrefixLen",
                "IPv6Gateway",
                "GlobalIPv6Address",
                "GlobalIPv6PrefixLen",
                "DNSNames",
            ] {
                endpoint.remove(name);
            }
        }
        body
    }

    /// Recorded from Docker's command line, version 28.2: what it sends to the engine, or says instead.
    #[test]
    fn requests_and_complaints_are_dockers() {
        let recorded: Vec<Value> = serde_json::from_str(include_str!("../golden/networks.json")).unwrap();
        assert!(recorded.len() > 25);
        for case in recorded {
            let words: Vec<&str> =
                case["words"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
            match body(&words) {
                Ok(body) => assert_eq!(body, without_answers(case["body"].clone()), "{words:?}"),
                Err(error) => {
                    let said = case["error"].as_str().unwrap();
                    assert!(
                        !said.is_empty() && (error == said || case["status"] == 125),
                        "{words:?}: {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn subnets_hold_their_addresses_and_no_others() {
        assert!(contains("0.0.0.0/0", "9.9.9.9").unwrap());
        assert!(contains("10.1.2.3/32", "10.1.2.3").unwrap());
        assert!(!contains("10.1.2.3/32", "10.1.2.4").unwrap());
        assert!(contains("fd00::/64", "fd00::ffff/128").unwrap());
        assert!(!contains("fd00::/64", "10.0.0.1").unwrap());
        assert_eq!(
            contains("10.0.0.0/33", "x").unwrap_err(),
            "invalid subnet: invalid CIDR address: 10.0.0.0/33"
        );
    }
}
