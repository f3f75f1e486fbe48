//! What the engine does around a container's networks: interfaces and routes when it starts or is connected, and
//! their end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::PoisonError;

use holm_api::models::EndpointSettings;

use super::{NetworkMode, normalized, uses_embedded_dns};
use crate::container::etc_files::EtcFiles;
use crate::engine::records::Definition;
use crate::engine::{Container, Engine, EngineError, launch};
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
            Some(_) => {
                let namespace = Namespace::of(pid)?;
                self.networks().attach(&namespace, endpoints, endpoints).await?;
                self.announce(definition, endpoints);
                self.serve_names(definition, &namespace, endpoints).await
            }
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

    /// A running container has other networks than it had: its names, its name server and its files follow.
    pub(in crate::engine) async fn networks_changed(
        &self,
        definition: &Definition,
        pid: i32,
        before: &[Endpoint],
        after: &[Endpoint],
    ) -> Result<(), EngineError> {
        self.announce(definition, after);
        if NetworkMode::of(&definition.host)? == Some(NetworkMode::Host) {
            return Ok(());
        }
        self.serve_names(definition, &Namespace::of(pid)?, after).await?;
        let addresses = |of: &[Endpoint]| -> Vec<IpAddr> {
            of.iter().flat_map(Endpoint::places).map(|place| place.address.addr()).collect()
        };
        let (old, new) = (addresses(before), addresses(after));
        let gone: Vec<_> = old.iter().filter(|address| !new.contains(address)).copied().collect();
        let come: Vec<_> = new.iter().filter(|address| !old.contains(address)).copied().collect();
        let content = launch::etc_content(definition, after)?;
        let files = EtcFiles::in_folder(&self.layout().container(&definition.id));
        let asks_us_now = !uses_embedded_dns(before) && uses_embedded_dns(after);
        let _alone = self.changing_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = files.change_hosts(&content, &gone, &come).and_then(|()| match asks_us_now {
            true => files.write_resolv_conf(&content),
            false => Ok(()),
        });
        changed.map_err(EngineError::system("write /etc/hosts"))
    }

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
