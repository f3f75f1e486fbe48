//! Making and removing networks, one at a time, and telling of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use holm_api::NetworkId;

use super::plan::{Surroundings, plan};
use super::{CreateNetwork, Entry, Network, Networks, record};
use crate::engine::events::{Actor, Subject};
use crate::engine::names::random_bytes;
use crate::engine::volumes::blocking;
use crate::engine::{Engine, EngineError};
use crate::network::netfilter;

/// A network that was made.
#[derive(Debug)]
pub(crate) struct CreatedNetwork {
    pub(crate) network: Arc<Network>,
    /// What of the wish cannot be fulfilled here.
    pub(crate) warning: String,
}

const NOT_FILTERED: &str = "This machine's kernel has no nf_tables: containers of this network can reach those of others, and what is outside";

impl Networks {
    async fn create(&self, wish: CreateNetwork) -> Result<CreatedNetwork, EngineError> {
        let _changing = self.changing.lock().await;
        let id = NetworkId::from_bytes(random_bytes()?);
        let around = Surroundings {
            networks: &self.list(),
            elsewhere: &self.elsewhere,
            machine: self.predefined.machine(),
        };
        let network = plan(wish, &around, id, Utc::now())?;
        if let Some(bridge) = network.bridge()
            && self.switches.has(&bridge.interface).await?
        {
            // It is the machine's own, or somebody made it in a container of the host's network.
            return Err(EngineError::Forbidden(format!(
                "cannot create network {} ({}): the machine has an interface of this name",
                network.id, bridge.interface
            )));
        }
        let (folder, record) = (self.folder.clone(), network.clone());
        blocking(move || {
            record::write(&folder, &record).map_err(EngineError::system("write a network's record"))
        })
        .await?;
        if let Err(error) = self.bring_up_one(&network).await {
            self.take_down(&network).await;
            self.remove_record(&network.id).await?;
            return Err(error);
        }
        let warning = match network.bridge() {
            Some(_) if !self.filtered => NOT_FILTERED.to_owned(),
            _ => String::new(),
        };
        let entry = Entry::new(network);
        let network = entry.network.clone();
        self.table().insert(network.id.clone(), entry);
        Ok(CreatedNetwork { network, warning })
    }

    async fn remove(&self, id: &NetworkId) -> Result<Arc<Network>, EngineError> {
        let _changing = self.changing.lock().await;
        let network = self.take_out(id)?;
        if let Err(error) = self.remove_record(id).await {
            // It is still on the disk, so it still is.
            self.table().insert(id.clone(), Entry::new(Network::clone(&network)));
            return Err(error);
        }
        self.take_down(&network).await;
        Ok(network)
    }

    /// Takes it out of the table, so that nobody joins it any more.
    fn take_out(&self, id: &NetworkId) -> Result<Arc<Network>, EngineError> {
        let doing = "error while removing network";
        let mut table = self.table();
        let entry = table.get(id).ok_or_else(|| EngineError::NoSuchNetwork(id.to_string()))?;
        let network = entry.network.clone();
        if network.is_predefined() {
            let message = format!("{} is a pre-defined network and cannot be removed", network.name);
            return Err(EngineError::Forbidden(message));
        }
        let used = |other: &Entry| other.network.config_from == network.name;
        if network.config_only && table.values().any(used) {
            let message = format!("configuration network {:?} is in use", network.name);
            return Err(EngineError::Forbidden(message).while_doing(doing));
        }
        if !entry.members.is_empty() {
            let members = entry.members.iter();
            let active: Vec<_> =
                members.map(|(id, member)| format!("name:{:?} id:{:?}", member.name, id.short())).collect();
            let message = format!("network {} has active endpoints ({})", network.name, active.join(", "));
            return Err(EngineError::Forbidden(message).while_doing(doing));
        }
        table.remove(id);
        Ok(network)
    }

    async fn remove_record(&self, id: &NetworkId) -> Result<(), EngineError> {
        let (folder, id) = (self.folder.clone(), id.clone());
        blocking(move || {
            record::remove(&folder, &id).map_err(EngineError::system("remove a network's record"))
        })
        .await
    }

    async fn bring_up_one(&self, network: &Network) -> Result<(), EngineError> {
        let (Some(bridge), Some(filtered)) = (network.bridge(), network.filtered()) else { return Ok(()) };
        // Before the first packet can pass.
        if self.filtered {
            netfilter::add(&filtered).await?;
        }
        Ok(self.switches.ensure(&bridge).await?)
    }

    /// What stays of it is found and adopted, or in the way of nothing.
    async fn take_down(&self, network: &Network) {
        let (Some(bridge), Some(filtered)) = (network.bridge(), network.filtered()) else { return };
        if let Err(error) = self.switches.remove(&bridge.interface).await {
            tracing::warn!("the interface of network {} stays: {error}", network.name);
        }
        if self.filtered
            && let Err(error) = netfilter::remove(&filtered).await
        {
            tracing::warn!("the filter keeps network {}: {error}", network.name);
        }
    }
}

impl super::Predefined {
    /// The machine's part of its IPv6 subnets, as random as an id of its own.
    fn machine(&self) -> [u8; 5] {
        let mut bytes = [0; 5];
        // The digits of an id are hexadecimal.
        let _ = hex::decode_to_slice(&self.host.as_str()[..10], &mut bytes);
        bytes
    }
}

impl Engine {
    /// Makes a network.
    pub(crate) async fn create_network(&self, wish: CreateNetwork) -> Result<CreatedNetwork, EngineError> {
        let created = self.networks().create(wish).await?;
        self.tell_network(&created.network, "create", []);
        Ok(created)
    }

    /// Removes a network that nobody is on.
    pub(crate) async fn remove_network(&self, text: &str) -> Result<(), EngineError> {
        let network = self.networks().find(text)?;
        let removed = self.networks().remove(&network.id).await?;
        if !removed.config_only {
            self.tell_network(&removed, "destroy", []);
        }
        Ok(())
    }

    /// Removes all networks that somebody made, that nobody is on, and that are `wanted`. Returns their names.
    pub(crate) async fn prune_networks(
        &self,
        wanted: impl Fn(&Network) -> bool,
    ) -> Result<Vec<String>, EngineError> {
        let Ok(_alone) = self.pruning_networks.try_lock() else {
            return Err(EngineError::Conflict("a prune operation is already running".to_owned()));
        };
        let mut removed = Vec::new();
        for network in self.networks().list() {
            let idle = !network.is_predefined() && self.networks().members(&network.id).is_empty();
            if network.config_only || !idle || !wanted(&network) {
                continue;
            }
            match self.remove_network(network.id.as_str()).await {
                Ok(()) => removed.push(network.name.clone()),
                // Somebody was faster, in either direction.
                Err(error) => tracing::warn!("could not remove local network {}: {error}", network.name),
            }
        }
        self.tell_prune(Subject::Network, 0);
        Ok(removed)
    }

    /// Tells an event of a network, as moby does.
    pub(in crate::engine) fn tell_network<const N: usize>(
        &self,
        network: &Network,
        action: &str,
        more: [(&str, String); N],
    ) {
        let own = [("name", network.name.clone()), ("type", network.driver.name().to_owned())];
        let attributes: BTreeMap<_, _> =
            own.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)).collect();
        self.events().tell(Subject::Network, action, Actor { id: network.id.to_string(), attributes });
    }
}
