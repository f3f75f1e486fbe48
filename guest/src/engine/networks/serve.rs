//! Names on networks: who is called what is told to the directory, and each container on a network with names gets a
//! name server for as long as it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use holm_api::ContainerId;
use holm_api::models::EndpointSettings;
use holm_api::network::GATEWAY_V4;

use super::{dns_names, has_embedded_dns};
use crate::engine::records::Definition;
use crate::engine::{Engine, EngineError};
use crate::network::dns::{Directory, NameServer, Presence, Service, Upstream};
use crate::network::{Endpoint, Namespace};

/// The directory, and the name servers that run.
#[derive(Debug, Default)]
pub(in crate::engine) struct Names {
    directory: Arc<Directory>,
    servers: Mutex<HashMap<ContainerId, NameServer>>,
}

impl Names {
    fn replace(&self, container: &ContainerId, server: Option<NameServer>) {
        // One insertion or removal at a time, so a panic elsewhere leaves the map right.
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        match server {
            Some(server) => drop(servers.insert(container.clone(), server)),
            None => drop(servers.remove(container)),
        }
    }
}

impl Engine {
    /// Tells all others on its networks what a container is called there.
    pub(in crate::engine) fn announce(&self, definition: &Definition, endpoints: &[Endpoint]) {
        let places = endpoints.iter().filter(|endpoint| has_embedded_dns(&endpoint.network_name));
        let places = places.map(|endpoint| {
            let wish = definition.endpoints.get(&endpoint.network_name);
            Presence {
                network: endpoint.network.clone(),
                network_name: endpoint.network_name.clone(),
                names: dns_names(definition, wish),
                addresses: endpoint.places().map(|place| place.address.addr()).collect(),
                links: links(wish),
            }
        });
        self.network_names.directory.set(&definition.id, places.collect());
    }

    /// Starts a container's name server, or one with what it has to know by now. Without a network that has names it
    /// needs none.
    pub(in crate::engine) async fn serve_names(
        &self,
        definition: &Definition,
        namespace: &Namespace,
        endpoints: &[Endpoint],
    ) -> Result<(), EngineError> {
        if !uses_embedded_dns(endpoints) {
            return Ok(());
        }
        // The old one first: where it has port 53 itself, the new one wants that too.
        self.network_names.replace(&definition.id, None);
        let service = Service {
            container: definition.id.clone(),
            directory: self.network_names.directory.clone(),
            upstream: upstream(definition, namespace, endpoints),
            short_names_are_ours: definition
                .host
                .dns_options
                .iter()
                .flatten()
                .any(|o| o.starts_with("ndots")),
        };
        let server = NameServer::start(namespace, service).await?;
        self.network_names.replace(&definition.id, Some(server));
        Ok(())
    }

    /// A container is gone.
    pub(in crate::engine) fn forget_names(&self, container: &ContainerId) {
        self.network_names.directory.forget(container);
        self.network_names.replace(container, None);
    }
}

/// Whether the container asks our name server.
pub(in crate::engine) fn uses_embedded_dns(endpoints: &[Endpoint]) -> bool {
    endpoints.iter().any(|endpoint| has_embedded_dns(&endpoint.network_name))
}

/// Who knows what we do not: the container's own choice, asked from where it is; else the gateway, unless nothing
/// leads out of its networks.
fn upstream(definition: &Definition, namespace: &Namespace, endpoints: &[Endpoint]) -> Upstream {
    let chosen: Vec<_> = definition.host.dns.iter().flatten().filter_map(|text| text.parse().ok()).collect();
    if !chosen.is_empty() {
        return Upstream { servers: chosen, from: Some(namespace.clone()) };
    }
    let leads_out = endpoints.iter().flat_map(Endpoint::places).any(|place| place.gateway.is_some());
    Upstream { servers: if leads_out { vec![GATEWAY_V4.into()] } else { Vec::new() }, from: None }
}

/// `container:alias`, or a container's name alone.
fn links(wish: Option<&EndpointSettings>) -> Vec<(String, String)> {
    let links = wish.and_then(|wish| wish.links.as_deref()).unwrap_or_default();
    let link = |text: &String| {
        let (theirs, own) = text.split_once(':').unwrap_or((text, text));
        let bare = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        (bare(own), bare(theirs))
    };
    links.iter().map(link).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_a_container_and_what_it_is_called_here() {
        let links = |texts: &[&str]| {
            let wish = EndpointSettings {
                links: Some(texts.iter().map(|text| (*text).to_owned()).collect()),
                ..EndpointSettings::default()
            };
            super::links(Some(&wish))
        };
        let pair = |own: &str, theirs: &str| (own.to_owned(), theirs.to_owned());
        assert_eq!(
            links(&["db:store", "/web:/app/web", "x"]),
            [pair("store", "db"), pair("web", "web"), pair("x", "x")]
        );
    }
}
