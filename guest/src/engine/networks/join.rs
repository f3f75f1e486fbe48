//! What the engine does around a container's networks: interfaces and routes when it starts or is connected, and
//! their end.

use std::collections::HashMap;

use holm_api::models::EndpointSettings;

use super::{NetworkMode, normalized};
use crate::engine::records::{Definition, Status};
use crate::engine::{Container, Engine, EngineError};
use crate::network::{Endpoint, Namespace, loopback_only};

impl Engine {
    /// A new container's wishes by network name: at least one, unless it shares another's network.
    pub(in crate::engine) fn wished_endpoints(
        &self,
        mode: Option<&NetworkMode>,
        wishes: HashMap<String, EndpointSettings>,
    ) -> HashMap<String, EndpointSettings> {
        let Some(mode) = mode else { return HashMap::new() };
        let mut endpoints: HashMap<_, _> = wishes
            .into_iter()
            .map(|(name, wish)| {
                // A client may name it by its id.
                let known = self.networks().find(&name).map(|network| network.name.clone());
                (known.unwrap_or(name), normalized(wish))
            })
            .collect();
        if endpoints.is_empty() {
            let known = self.networks().find(mode.name()).map(|network| network.name.clone());
            endpoints.insert(known.unwrap_or_else(|_| mode.name().to_owned()), EndpointSettings::default());
        }
        endpoints
    }

    /// Gives a created container its interfaces.
    pub(in crate::engine) async fn join_networks(
        &self,
        definition: &Definition,
        pid: i32,
        endpoints: &[Endpoint],
    ) -> Result<(), EngineError> {
        match NetworkMode::of(&definition.host)? {
            // The machine's, or another container's: both are as they are.
            None | Some(NetworkMode::Host) => Ok(()),
            Some(_) if endpoints.is_empty() => Ok(loopback_only(pid).await?),
            Some(_) => self.networks().attach(&Namespace::of(pid)?, endpoints, endpoints).await,
        }
    }

    /// Gives a running container `more` interfaces, and the routes that follow from `all` it has then.
    pub(in crate::engine) async fn rejoin_networks(
        &self,
        definition: &Definition,
        pid: i32,
        more: &[Endpoint],
        all: &[Endpoint],
    ) -> Result<(), EngineError> {
        match NetworkMode::of(&definition.host)? {
            None | Some(NetworkMode::Host) => Ok(()),
            Some(_) => self.networks().attach(&Namespace::of(pid)?, more, all).await,
        }
    }

    /// Takes a container's interfaces away, which may be gone already, and lets others have its addresses.
    pub(in crate::engine) async fn leave_networks(&self, endpoints: &[Endpoint]) {
        for endpoint in endpoints {
            self.networks().detach(endpoint).await;
        }
    }

    /// A running container has other networks than it had.
    pub(in crate::engine) fn networks_changed(&self, _definition: &Definition, _status: &Status) {}

    /// Puts a container on a network.
    pub(crate) async fn connect(
        &self,
        container: &Container,
        network: &str,
        wish: EndpointSettings,
    ) -> Result<(), EngineError> {
        let network = self.networks().find(network)?;
        container.connect(network, wish).await
    }

    /// Takes a container off a network. `force` is for networks that are gone.
    pub(crate) async fn disconnect(
        &self,
        container: &Container,
        network: &str,
        force: bool,
    ) -> Result<(), EngineError> {
        if container.status().life.is_running() && !force {
            self.networks().find(network)?;
        }
        container.disconnect(network.to_owned()).await
    }
}
