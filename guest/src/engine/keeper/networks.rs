//! A client puts a container on a network or takes it off one: at once where it runs, and for its next start where it
//! does not.

use holm_api::models::EndpointSettings;

use super::Keeper;
use crate::engine::networks::{Driver, Network, NetworkMode, check_wish, normalized};
use crate::engine::records::{Definition, Status};
use crate::engine::state::State;
use crate::engine::{Engine, EngineError};
use crate::network::Endpoint;

const SHARED: &str = "container sharing network namespace with another container or host cannot be connected to any other network";
const NOT_HOST: &str =
    "cannot connect container to host network - container must be created in host network mode";
const NOT_NONE: &str =
    "container cannot be connected to multiple networks with one of the networks in private (none) mode";
const KEEPS_HOST: &str =
    "cannot disconnect container from host network - container was created in host network mode";

impl Keeper {
    /// Puts it on a network.
    pub(super) async fn connect(
        &mut self,
        network: &Network,
        wish: EndpointSettings,
    ) -> Result<(), EngineError> {
        self.may_change()?;
        check_wish(&network.name, Some(network), &wish)?;
        let wish = normalized(wish);
        let joined = may_join(&self.engine, &self.definition, network)?;
        let running = self.status.borrow().life.pid();
        let Some(pid) = running else {
            return match joined {
                Joined::Already => Ok(()),
                Joined::NotYet => self.keep_wish(network, wish).await,
            };
        };
        if joined == Joined::Already {
            return Err(EngineError::Forbidden(format!(
                "endpoint with name {} already exists in network {}",
                self.definition.name, network.name
            )));
        }
        let before = self.status.borrow().endpoints.clone();
        let networks = self.engine.networks();
        let endpoint = networks.reserve(&self.definition, network.id.as_str(), &wish, &before)?;
        let after: Vec<_> = before.iter().cloned().chain(endpoint.clone()).collect();
        let old = self.definition.clone();
        let joined = match self.keep_wish(network, wish).await {
            Ok(()) => self.join(pid, endpoint.as_slice(), &before, &after).await,
            Err(error) => Err(error),
        };
        if let Err(error) = joined {
            self.engine.leave_networks(endpoint.as_slice()).await;
            self.replace_definition(Definition::clone(&old)).await?;
            self.engine.announce(&old, &before);
            // The first error counts.
            if let Err(error) = self.engine.rejoin_networks(&old, pid, &[], &before).await {
                tracing::warn!("{} has lost its routes: {error}", old.id.short());
            }
            return Err(error);
        }
        self.status.send_modify(|status| status.endpoints.clone_from(&after));
        self.move_ports(&before).await;
        self.keep_status();
        self.engine.tell_network(network, "connect", [("container", self.definition.id.to_string())]);
        Ok(())
    }

    async fn join(
        &mut self,
        pid: i32,
        more: &[Endpoint],
        before: &[Endpoint],
        after: &[Endpoint],
    ) -> Result<(), EngineError> {
        self.engine.rejoin_networks(&self.definition, pid, more, after).await?;
        self.engine.networks_changed(&self.definition, pid, before, after).await
    }

    /// Takes it off one.
    pub(super) async fn disconnect(&mut self, text: &str) -> Result<(), EngineError> {
        self.may_change()?;
        let network = self.engine.networks().find(text).ok();
        let name = network.as_ref().map_or(text, |network| &network.name).to_owned();
        let pid = self.status.borrow().life.pid();
        let is_host = network.as_ref().is_some_and(|network| network.driver == Driver::Host);
        if pid.is_some() && is_host && NetworkMode::of(&self.definition.host)? == Some(NetworkMode::Host) {
            return Err(EngineError::Invalid(KEEPS_HOST.to_owned()));
        }
        if !self.definition.endpoints.contains_key(&name) {
            let the = if pid.is_some() { "network" } else { "the network" };
            return Err(EngineError::Internal(format!(
                "container {} is not connected to {the} {name}",
                self.definition.id
            )));
        }
        let mut endpoints = self.definition.endpoints.clone();
        endpoints.remove(&name);
        self.replace_definition(Definition { endpoints, ..Definition::clone(&self.definition) }).await?;
        let Some(pid) = pid else { return Ok(()) };
        let all = self.status.borrow().endpoints.clone();
        let (gone, left): (Vec<_>, Vec<_>) =
            all.iter().cloned().partition(|endpoint| endpoint.network_name == name);
        self.engine.leave_networks(&gone).await;
        self.status.send_modify(|status| status.endpoints.clone_from(&left));
        self.move_ports(&all).await;
        self.keep_status();
        let routed = self.engine.rejoin_networks(&self.definition, pid, &[], &left).await;
        let changed = self.engine.networks_changed(&self.definition, pid, &all, &left).await;
        if let Some(network) = network {
            self.engine.tell_network(&network, "disconnect", [("container", self.definition.id.to_string())]);
        }
        routed.and(changed)
    }

    /// Leads its published ports to where it is now. It is on the network in any case: what fails is said in the log,
    /// and its ports are closed.
    async fn move_ports(&mut self, before: &[Endpoint]) {
        let Status { endpoints, ports, .. } = self.status.borrow().clone();
        let moved = self.engine.move_ports(&self.definition, before, &endpoints, &ports).await;
        let ports = moved.unwrap_or_else(|error| {
            tracing::warn!("{}: {error}", self.definition.id.short());
            Vec::new()
        });
        self.status.send_modify(|status| status.ports = ports);
    }

    /// Tells that it came to all of its networks, or that it went.
    pub(super) fn tell_networks(&self, action: &str) {
        let mut names: Vec<_> = self.definition.endpoints.keys().collect();
        names.sort();
        for network in names.into_iter().filter_map(|name| self.engine.networks().find(name).ok()) {
            self.engine.tell_network(&network, action, [("container", self.definition.id.to_string())]);
        }
    }

    fn may_change(&self) -> Result<(), EngineError> {
        match self.status.borrow().life.state {
            State::Removing | State::Dead | State::Removed => Err(EngineError::Conflict(format!(
                "container {} is marked for removal and cannot be connected or disconnected to the network",
                self.definition.id
            ))),
            _ => Ok(()),
        }
    }

    async fn keep_wish(&mut self, network: &Network, wish: EndpointSettings) -> Result<(), EngineError> {
        let mut endpoints = self.definition.endpoints.clone();
        endpoints.insert(network.name.clone(), wish);
        self.replace_definition(Definition { endpoints, ..Definition::clone(&self.definition) }).await
    }
}

/// Whether it is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joined {
    Already,
    NotYet,
}

/// moby's `updateNetworkSettings`: which networks go together.
fn may_join(engine: &Engine, definition: &Definition, network: &Network) -> Result<Joined, EngineError> {
    let refused = |message: &str| Err(EngineError::Invalid(message.to_owned()));
    let Some(mode) = NetworkMode::of(&definition.host)? else { return refused(SHARED) };
    if mode != NetworkMode::Host && network.driver == Driver::Host {
        return refused(NOT_HOST);
    }
    let has = definition.endpoints.keys().filter_map(|name| engine.networks().find(name).ok());
    for other in has {
        if other.id == network.id {
            return Ok(Joined::Already);
        }
        if other.driver == Driver::Host || network.driver == Driver::Host {
            return refused(SHARED);
        }
        if other.driver == Driver::Null || network.driver == Driver::Null {
            return refused(NOT_NONE);
        }
    }
    Ok(Joined::NotYet)
}
