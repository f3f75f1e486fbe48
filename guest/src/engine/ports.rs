//! Published ports: what a client wishes for, as moby reads it, and the host computer's part in it. The host binds
//! them before the program starts and closes them when it has ended; what is bound is kept in the status.

use std::collections::BTreeSet;
use std::net::IpAddr;

use holm_api::ContainerId;
use holm_api::models::{ContainerConfig, HostConfig, PortBinding};
use holm_api::services::{Answer, Ask, BoundPort, OpenPorts, PortWish, Protocol, Target};

use super::records::Definition;
use super::{Engine, EngineError};
use crate::network::{Endpoint, Family, Place, way_out};
use crate::services::ServiceError;

impl Engine {
    /// Opens what the container publishes, all of it or nothing; nothing where it has no way out.
    pub(super) async fn open_ports(
        &self,
        definition: &Definition,
        endpoints: &[Endpoint],
    ) -> Result<Vec<BoundPort>, EngineError> {
        let ports = wishes(&definition.config, &definition.host)?;
        self.bind_ports(definition, endpoints, ports).await
    }

    /// Leads open ports to where the container is now, under the same numbers: it has come to a network, or left one.
    pub(super) async fn move_ports(
        &self,
        definition: &Definition,
        before: &[Endpoint],
        endpoints: &[Endpoint],
        bound: &[BoundPort],
    ) -> Result<Vec<BoundPort>, EngineError> {
        let leads = |endpoints| target(endpoints).map(|(target, _)| target);
        if bound.is_empty() || leads(before) == leads(endpoints) {
            return Ok(bound.to_vec());
        }
        if leads(endpoints).is_none() {
            self.close_ports(&definition.id, bound).await;
            return Ok(Vec::new());
        }
        let same = |bound: &BoundPort| PortWish {
            protocol: bound.protocol,
            container_port: bound.container_port,
            address: Some(bound.address),
            first: bound.port,
            last: bound.port,
        };
        self.bind_ports(definition, endpoints, bound.iter().map(same).collect()).await
    }

    async fn bind_ports(
        &self,
        definition: &Definition,
        endpoints: &[Endpoint],
        mut ports: Vec<PortWish>,
    ) -> Result<Vec<BoundPort>, EngineError> {
        let Some((target, endpoint)) = target(endpoints).filter(|_| !ports.is_empty()) else {
            return Ok(Vec::new());
        };
        // A network may say where ports are opened that name no address.
        let usual = self.networks().find(&endpoint.network_name).ok().and_then(|network| network.binding());
        ports.iter_mut().for_each(|wish| wish.address = wish.address.or(usual));
        let inside = self.networks().list().iter().flat_map(|network| network.nets()).collect();
        let ask = Ask::OpenPorts(OpenPorts { container: definition.id.clone(), target, inside, ports });
        let answered = match self.services().ask(ask).await {
            Ok(Answer::Ports(bound)) => return Ok(bound),
            Ok(_) => ServiceError::Misplaced,
            Err(error) => error,
        };
        Err(EngineError::Internal(format!(
            "driver failed programming external connectivity on endpoint {} ({}): {answered}",
            definition.name,
            endpoint.id.as_str(),
        )))
    }

    /// Closes what the container has published. That it fails is our trouble, not that of whoever stops it: the
    /// next start opens anew, and a restarted engine says what it keeps.
    pub(super) async fn close_ports(&self, id: &ContainerId, bound: &[BoundPort]) {
        if bound.is_empty() {
            return;
        }
        if let Err(error) = self.services().tell(Ask::ClosePorts(id.clone())).await {
            tracing::warn!("the published ports of {} stay open: {error}", id.short());
        }
    }

    /// Closes whatever a former engine has left open for containers that do not run any more. Before clients are
    /// served, for what they start meanwhile would be closed as well.
    pub(super) async fn keep_published(&self) {
        let running = self.containers().into_iter().filter(|container| container.status().life.is_running());
        let keep = Ask::Keep(running.map(|container| container.id().clone()).collect());
        if let Err(error) = self.services().tell(keep).await {
            tracing::warn!("what the host has open for containers that ended stays open: {error}");
        }
    }
}

/// Where published ports of a container with these endpoints lead, and the endpoint that is named in errors; `None`
/// where it has no way out, as on internal networks.
fn target(endpoints: &[Endpoint]) -> Option<(Target, &Endpoint)> {
    let on = |family| way_out(endpoints, family).map(|(endpoint, _)| endpoint);
    let (v4, v6) = (on(Family::V4), on(Family::V6));
    let address = |place: Option<Place>| place.map(|place| place.address.addr());
    let target = Target {
        v4: match v4.and_then(|endpoint| address(endpoint.v4)) {
            Some(IpAddr::V4(address)) => Some(address),
            _ => None,
        },
        v6: match v6.and_then(|endpoint| address(endpoint.v6)) {
            Some(IpAddr::V6(address)) => Some(address),
            _ => None,
        },
    };
    Some((target, v4.or(v6)?))
}

/// Checks what can be checked before the image is known.
pub(super) fn check(host: &HostConfig) -> Result<(), EngineError> {
    wishes(&ContainerConfig::default(), &HostConfig { publish_all_ports: None, ..host.clone() }).map(|_| ())
}

/// What moby says where published ports make no sense.
pub(super) fn warning(host: &HostConfig) -> Option<String> {
    let discards = host.network_mode.as_deref() == Some("host")
        && host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    discards.then(|| "Published ports are discarded when using host network mode".to_owned())
}

/// What is to be bound. A binding of a port that is not exposed counts as well, though moby forgets those.
fn wishes(config: &ContainerConfig, host: &HostConfig) -> Result<Vec<PortWish>, EngineError> {
    let mut wishes = Vec::new();
    let mut bound = BTreeSet::new();
    for (port, bindings) in host.port_bindings.iter().flatten() {
        let (protocol, number) = container_port(port)?;
        for binding in bindings.iter().flatten() {
            bound.insert(port);
            wishes.push(wish(published_protocol(protocol)?, number, binding)?);
        }
    }
    if host.publish_all_ports == Some(true) {
        let exposed = config.exposed_ports.iter().flatten();
        for port in exposed.filter(|port| !bound.contains(port)) {
            let (protocol, number) = container_port(port)?;
            wishes.push(wish(published_protocol(protocol)?, number, &PortBinding::default())?);
        }
    }
    Ok(wishes)
}

fn published_protocol(text: &str) -> Result<Protocol, EngineError> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(EngineError::NotImplemented(format!(
            "Holm {} cannot publish SCTP ports: the computers it runs on have no sockets of that kind",
            holm_api::VERSION
        ))),
        other => Err(EngineError::Invalid(format!("invalid proto: {other}"))),
    }
}

/// `80/tcp`, `80`: the protocol as it is written, and the number.
pub(crate) fn container_port(text: &str) -> Result<(&str, u16), EngineError> {
    let (number, protocol) = split(text);
    match number.parse() {
        Ok(port) if port > 0 => Ok((protocol, port)),
        _ => Err(EngineError::Invalid(format!("invalid port specification: {number:?}"))),
    }
}

/// As moby splits `80/tcp`: without a protocol it is TCP.
fn split(text: &str) -> (&str, &str) {
    let (number, protocol) = text.split_once('/').unwrap_or((text, ""));
    let protocol = protocol.split('/').next().unwrap_or_default();
    (number, if protocol.is_empty() { "tcp" } else { protocol })
}

fn wish(protocol: Protocol, container_port: u16, binding: &PortBinding) -> Result<PortWish, EngineError> {
    let text = binding.host_port.as_deref().unwrap_or_default();
    let wrong = || EngineError::Invalid(format!("invalid port specification: {text:?}"));
    let (numbers, _) = split(text);
    let (first, last) = match numbers.split_once('-') {
        _ if numbers.is_empty() => (0, 0),
        None => {
            let number: u16 = numbers.parse().map_err(|_| wrong())?;
            (number, number)
        }
        Some((first, last)) => {
            let (first, last): (u16, u16) =
                (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
            if first == 0 || last < first {
                return Err(wrong());
            }
            (first, last)
        }
    };
    let address = match binding.host_ip.as_deref().unwrap_or_default() {
        "" => None,
        text => Some(address(text)?),
    };
    Ok(PortWish { protocol, container_port, address, first, last })
}

/// moby takes what is no address for all of them, which opens more than was asked for.
fn address(text: &str) -> Result<IpAddr, EngineError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| EngineError::Invalid(format!("invalid IP address: {text}")))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn host(port: &str, address: &str, number: &str) -> HostConfig {
        let binding = PortBinding { host_ip: Some(address.to_owned()), host_port: Some(number.to_owned()) };
        HostConfig {
            port_bindings: Some(HashMap::from([(port.to_owned(), Some(vec![binding]))])),
            ..HostConfig::default()
        }
    }

    fn read(port: &str, address: &str, number: &str) -> PortWish {
        wishes(&ContainerConfig::default(), &host(port, address, number)).unwrap()[0]
    }

    fn refused(port: &str, address: &str, number: &str) -> String {
        check(&host(port, address, number)).unwrap_err().to_string()
    }

    #[test]
    fn a_binding_is_a_number_a_range_or_any() {
        let shape = |wish: PortWish| (wish.container_port, wish.first, wish.last);
        assert_eq!(shape(read("80/tcp", "", "8080")), (80, 8080, 8080));
        assert_eq!(shape(read("80", "", "8000-8010")), (80, 8000, 8010));
        assert_eq!(shape(read("80/tcp", "", "")), (80, 0, 0));
        assert_eq!(shape(read("80/tcp", "", "0")), (80, 0, 0));
        assert_eq!(read("53/udp", "", "53/udp").protocol, Protocol::Udp);
    }

    #[test]
    fn an_address_is_one_of_either_kind_or_all() {
        assert_eq!(read("80/tcp", "", "80").address, None);
        assert_eq!(read("80/tcp", "127.0.0.1", "80").address, Some([127, 0, 0, 1].into()));
        assert_eq!(read("80/tcp", "::1", "80").address, read("80/tcp", "[::1]", "80").address);
    }

    #[test]
    fn what_is_none_is_refused_in_mobys_words() {
        assert_eq!(refused("80-90/tcp", "", "80"), "invalid port specification: \"80-90\"");
        assert_eq!(refused("0/tcp", "", "80"), "invalid port specification: \"0\"");
        assert_eq!(refused("80/tcp", "", "x"), "invalid port specification: \"x\"");
        assert_eq!(refused("80/tcp", "", "90-80"), "invalid port specification: \"90-80\"");
        assert_eq!(refused("80/tcp", "here", "80"), "invalid IP address: here");
        assert_eq!(refused("80/icmp", "", "80"), "invalid proto: icmp");
        assert!(refused("80/sctp", "", "80").contains("cannot publish SCTP ports"));
    }

    #[test]
    fn all_exposed_ports_are_published_under_any_number_but_those_bound_otherwise() {
        let config = ContainerConfig {
            exposed_ports: Some(vec!["80/tcp".to_owned(), "53/udp".to_owned()]),
            ..ContainerConfig::default()
        };
        let host = HostConfig { publish_all_ports: Some(true), ..host("80/tcp", "", "8080") };
        let all = wishes(&config, &host).unwrap();
        let shape: Vec<_> = all.iter().map(|wish| (wish.container_port, wish.protocol, wish.first)).collect();
        assert_eq!(shape, [(80, Protocol::Tcp, 8080), (53, Protocol::Udp, 0)]);
    }

    #[test]
    fn exposed_is_not_published() {
        let config =
            ContainerConfig { exposed_ports: Some(vec!["80/tcp".to_owned()]), ..ContainerConfig::default() };
        assert!(wishes(&config, &HostConfig::default()).unwrap().is_empty());
    }
}
