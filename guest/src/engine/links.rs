//! Links of containers on the default bridge, which has no names of its own: lines in `/etc/hosts` and variables that
//! tell one container of another, as moby makes them (`daemon/links`).
//!
//! ```text
//!   create:  db:store ──► <id of db>:store, which no renaming changes
//!   start:   hosts lines and variables, of containers that run
//!   a linked container starts again ──► lines of those that link to it get its new address
//! ```

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::PoisonError;

use holm_api::models::{ContainerConfig, HostConfig};
use holm_api::{ContainerId, ContainerRef};

use super::joined;
use super::networks::NetworkMode;
use super::ports::container_port;
use super::records::Definition;
use super::{Container, Engine, EngineError, ErrorKind};
use crate::container::etc_files::EtcFiles;
use crate::network::Endpoint;

/// The one network whose containers are linked like this; on others, names do.
const DEFAULT_NETWORK: &str = "bridge";
/// Containers that use one another's network, each the next one's.
const LONGEST_CHAIN: usize = 16;

/// What a container is told of those that it links to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Linked {
    /// Before its own variables, which win.
    pub(super) environment: Vec<String>,
    /// Lines of its `/etc/hosts`: names, and their address.
    pub(super) hosts: Vec<(String, IpAddr)>,
}

impl Engine {
    /// Ids in the place of names, so that a container keeps its partners when they are renamed.
    pub(super) fn pin_links(
        &self,
        host: &mut HostConfig,
        network: Option<&NetworkMode>,
    ) -> Result<(), EngineError> {
        let Some(links) = host.links.take() else { return Ok(()) };
        if matches!(network, Some(NetworkMode::Named(_))) {
            // There, the endpoint's own links count.
            return Ok(());
        }
        let (mut aliases, mut pinned) = (BTreeSet::new(), Vec::new());
        for text in &links {
            let (name, alias) = parse(text)?;
            let child = self.linkable(name)?;
            // The second of a name is left out, as in moby.
            if aliases.insert(alias) {
                pinned.push(format!("{}:{alias}", child.id()));
            }
        }
        host.links = Some(pinned).filter(|pinned| !pinned.is_empty());
        Ok(())
    }

    /// Who has the network that a container uses, if anybody may link to it.
    fn linkable(&self, name: &str) -> Result<Container, EngineError> {
        let mut wanted = name.to_owned();
        for _ in 0..LONGEST_CHAIN {
            let found = self.find(&ContainerRef(wanted.clone())).map_err(|error| {
                let doing = format!("could not get container for {wanted}");
                match error.kind() {
                    // Else clients say that the image is missing.
                    ErrorKind::NotFound => EngineError::Invalid(error.to_string()).while_doing(doing),
                    _ => error.while_doing(doing),
                }
            })?;
            let mode = found.definition().host.network_mode.clone();
            match joined::named(mode.as_deref()) {
                Some(next) => next.clone_into(&mut wanted),
                None if mode.as_deref() == Some("host") => {
                    return Err(EngineError::Invalid(
                        "conflicting options: host type networking can't be used with links. This would result in undefined behavior".to_owned(),
                    ));
                }
                None => return Ok(found),
            }
        }
        Err(EngineError::Invalid(format!("could not get container for {name}: it uses its own network")))
    }

    /// Those that a container links to and that are still there, and what it calls them.
    fn links<'a>(&self, definition: &'a Definition) -> Vec<(Container, &'a str)> {
        let pinned = definition.host.links.iter().flatten().filter_map(|text| text.split_once(':'));
        let found = pinned.map(|(id, alias)| Some((self.find(&ContainerRef(id.to_owned())).ok()?, alias)));
        found.flatten().collect()
    }

    /// A container's links as clients see them: `/db:/web/store`.
    pub(crate) fn shown_links(&self, definition: &Definition) -> Option<Vec<String>> {
        let shown = self.links(definition).into_iter();
        let shown =
            shown.map(|(child, alias)| format!("/{}:/{}/{alias}", child.definition().name, definition.name));
        Some(shown.collect::<Vec<_>>()).filter(|links| !links.is_empty())
    }

    /// What a container with a place on the default network is told of those that it links to, all of which have to
    /// run.
    pub(super) fn linked(&self, definition: &Definition) -> Result<Linked, EngineError> {
        let mut linked = Linked::default();
        if !definition.endpoints.contains_key(DEFAULT_NETWORK) {
            return Ok(linked);
        }
        for (child, alias) in self.links(definition) {
            let (theirs, status) = (child.definition(), child.status());
            if !theirs.endpoints.contains_key(DEFAULT_NETWORK) {
                return Err(EngineError::Internal(format!(
                    "Cannot link to /{}, as it does not belong to the default network",
                    theirs.name
                )));
            }
            if !status.life.is_running() {
                return Err(EngineError::Internal(format!(
                    "Cannot link to a non running container: /{} AS /{}/{alias}",
                    theirs.name, definition.name
                )));
            }
            // One that is between two runs has none, and tells us when it is there again.
            let addresses = addresses(&status.endpoints);
            let names = names(&theirs, alias);
            linked.hosts.extend(addresses.iter().map(|address| (names.clone(), *address)));
            if let Some(address) = addresses.first() {
                let name = format!("/{}/{alias}", definition.name);
                linked.environment.extend(variables(alias, &name, *address, &theirs.config));
            }
        }
        Ok(linked)
    }

    /// A container has started: those that run and link to it learn its addresses.
    pub(super) fn tell_linking(&self, id: &ContainerId, endpoints: &[Endpoint]) {
        let addresses = addresses(endpoints);
        if addresses.is_empty() {
            return;
        }
        for other in self.containers() {
            let definition = other.definition();
            let pinned = definition.host.links.iter().flatten().filter_map(|text| text.split_once(':'));
            let aliases: Vec<&str> =
                pinned.filter(|(child, _)| *child == id.as_str()).map(|(_, alias)| alias).collect();
            if aliases.is_empty() || !other.status().life.is_running() {
                continue;
            }
            let files = EtcFiles::in_folder(&self.layout().container(&definition.id));
            // It guards files, which are whole whenever it is let go.
            let _alone = self.changing_hosts.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = files.move_hosts(&aliases, &addresses) {
                tracing::warn!("{}: its /etc/hosts is not up to date: {error}", definition.id.short());
            }
        }
    }
}

/// On the default network, IPv4 first.
fn addresses(endpoints: &[Endpoint]) -> Vec<IpAddr> {
    let places = endpoints.iter().filter(|endpoint| endpoint.network_name == DEFAULT_NETWORK);
    places.flat_map(Endpoint::places).map(|place| place.address.addr()).collect()
}

/// What a line of `/etc/hosts` calls a linked container: as the link does, its host name, its own name.
fn names(child: &Definition, alias: &str) -> String {
    let mut names = vec![alias];
    let hostname = child.config.hostname.as_deref().unwrap_or_default();
    names.extend(Some(hostname).filter(|name| is_word(name)));
    names.extend(Some(child.name.as_str()).filter(|name| *name != alias));
    names.join(" ")
}

/// `name`, or `name:alias`; also as inspect shows it, `/name:/parent/alias`.
fn parse(text: &str) -> Result<(&str, &str), EngineError> {
    let wrong = || EngineError::Invalid(format!("bad format for links: {text}"));
    if text.is_empty() {
        return Err(EngineError::Invalid("empty string specified for links".to_owned()));
    }
    let (name, alias) = match text.split_once(':') {
        None => (text, text.trim_start_matches('/')),
        Some((_, rest)) if rest.contains(':') => return Err(wrong()),
        Some((name, alias)) => match name.strip_prefix('/') {
            Some(name) => (name, alias.rsplit('/').next().unwrap_or_default()),
            None => (name, alias),
        },
    };
    // It becomes part of a line of another file.
    if is_word(alias) { Ok((name, alias)) } else { Err(wrong()) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// A port of the linked container: TCP first, then by protocol and number.
type Port = (Reverse<bool>, String, u16);

/// The variables that tell of a linked container: its ports, its name and its own variables.
fn variables(alias: &str, name: &str, address: IpAddr, config: &ContainerConfig) -> Vec<String> {
    let upper = alias.rsplit('/').next().unwrap_or(alias).to_uppercase().replace('-', "_");
    let exposed = config.exposed_ports.iter().flatten().filter_map(|text| container_port(text).ok());
    let ports: BTreeSet<Port> =
        exposed.map(|(protocol, number)| (Reverse(protocol == "tcp"), protocol.to_owned(), number)).collect();
    let at = |(_, protocol, number): &Port| format!("{protocol}://{address}:{number}");
    let prefix = |(_, protocol, number): &Port| format!("{upper}_PORT_{number}_{}", protocol.to_uppercase());
    let mut variables = Vec::new();
    variables.extend(ports.first().map(|first| format!("{upper}_PORT={}", at(first))));
    for port in &ports {
        let (prefix, (_, protocol, number)) = (prefix(port), port);
        variables.push(format!("{prefix}={}", at(port)));
        variables.push(format!("{prefix}_ADDR={address}"));
        variables.push(format!("{prefix}_PORT={number}"));
        variables.push(format!("{prefix}_PROTO={protocol}"));
    }
    for (first, last) in ranges(&ports) {
        let prefix = prefix(first);
        variables.push(format!("{prefix}_START={}", at(first)));
        variables.push(format!("{prefix}_PORT_START={}", first.2));
        variables.push(format!("{prefix}_END={}", at(last)));
        variables.push(format!("{prefix}_PORT_END={}", last.2));
    }
    variables.push(format!("{upper}_NAME={name}"));
    let own = config.env.iter().flatten().filter_map(|variable| variable.split_once('='));
    let told = own.filter(|(name, _)| !matches!(*name, "HOME" | "PATH"));
    variables.extend(told.map(|(name, value)| format!("{upper}_ENV_{name}={value}")));
    variables
}

/// First and last of two or more consecutive ports.
fn ranges(ports: &BTreeSet<Port>) -> Vec<(&Port, &Port)> {
    let mut ranges: Vec<(&Port, &Port)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if last.1 == port.1 && last.2.checked_add(1) == Some(port.2) => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges.retain(|(first, last)| first != last);
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_a_name_and_what_it_is_called_here() {
        assert_eq!(parse("db").unwrap(), ("db", "db"));
        assert_eq!(parse("db:store").unwrap(), ("db", "store"));
        assert_eq!(parse("/db:/web/store").unwrap(), ("db", "store"));
        let refused = |text| parse(text).unwrap_err().to_string();
        assert_eq!(refused(""), "empty string specified for links");
        assert_eq!(refused("a:b:c"), "bad format for links: a:b:c");
        for text in ["db:", "db:a b", "db:a\n1.2.3.4\tb"] {
            assert_eq!(refused(text), format!("bad format for links: {text}"));
        }
    }

    #[test]
    fn variables_tell_of_ports_ranges_and_the_others_own_variables() {
        let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect());
        let config = ContainerConfig {
            exposed_ports: words(&["53/udp", "81/tcp", "80", "443/tcp"]),
            env: words(&["PATH=/bin", "HOME=/", "A=b=c", "bare"]),
            ..ContainerConfig::default()
        };
        let told = variables("my-db", "/web/my-db", [172, 17, 0, 2].into(), &config);
        let port = |number: u16, protocol: &str| {
            let prefix = format!("MY_DB_PORT_{number}_{}", protocol.to_uppercase());
            [
                format!("{prefix}={protocol}://172.17.0.2:{number}"),
                format!("{prefix}_ADDR=172.17.0.2"),
                format!("{prefix}_PORT={number}"),
                format!("{prefix}_PROTO={protocol}"),
            ]
        };
        let mut expected = vec!["MY_DB_PORT=tcp://172.17.0.2:80".to_owned()];
        for (number, protocol) in [(80, "tcp"), (81, "tcp"), (443, "tcp"), (53, "udp")] {
            expected.extend(port(number, protocol));
        }
        expected.extend(
            [
                "MY_DB_PORT_80_TCP_START=tcp://172.17.0.2:80",
                "MY_DB_PORT_80_TCP_PORT_START=80",
                "MY_DB_PORT_80_TCP_END=tcp://172.17.0.2:81",
                "MY_DB_PORT_80_TCP_PORT_END=81",
                "MY_DB_NAME=/web/my-db",
                "MY_DB_ENV_A=b=c",
            ]
            .map(str::to_owned),
        );
        assert_eq!(told, expected);
    }
}
