//! Who is on which network: endpoints come with their addresses and go with them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use holm_api::models::EndpointSettings;
use holm_api::{ContainerId, EndpointId, NetworkId};
use ipnet::IpNet;

use super::mode::NetworkMode;
use super::options::BridgeOptions;
use super::record::{Driver, Network};
use super::wish::{Wanted, wanted};
use super::{Entry, Networks};
use crate::engine::EngineError;
use crate::engine::names::random_bytes;
use crate::engine::records::Definition;
use crate::network::{Addresses, Bridge, Endpoint, MacAddress, Namespace, Place, Refused};

/// Names interfaces in a container themselves (`com.docker.network.endpoint.ifname`).
const INTERFACE_OPTION: &str = "com.docker.network.endpoint.ifname";
/// Interfaces of one container; far more than anybody has.
const MOST_INTERFACES: usize = 256;

/// One that is on a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Which container.
    pub(crate) container: ContainerId,
    /// Its name when it joined.
    pub(crate) name: String,
    /// Its place.
    pub(crate) endpoint: Endpoint,
}

impl Networks {
    /// Everybody on a network.
    pub(crate) fn members(&self, id: &NetworkId) -> BTreeMap<EndpointId, Member> {
        self.table().get(id).map(|entry| entry.members.clone()).unwrap_or_default()
    }

    /// Takes a place on each of a container's networks, so that its files can name them before it runs. Where one is
    /// not to be had, none is. [`Self::release`] them whatever happens next.
    pub(in crate::engine) fn reserve_all(
        &self,
        definition: &Definition,
    ) -> Result<Vec<Endpoint>, EngineError> {
        let Some(mode) = NetworkMode::of(&definition.host)? else { return Ok(Vec::new()) };
        let mut names: Vec<&String> = definition.endpoints.keys().collect();
        // The one that it was made for comes first, and has `eth0`.
        names.sort_by_key(|name| (name.as_str() != mode.name(), name.as_str()));
        let mut endpoints = Vec::new();
        for name in names {
            match self.reserve(definition, name, &definition.endpoints[name], &endpoints) {
                Ok(endpoint) => endpoints.extend(endpoint),
                Err(error) => {
                    endpoints.iter().for_each(|endpoint| self.release(endpoint));
                    return Err(error);
                }
            }
        }
        Ok(endpoints)
    }

    /// Takes a place on one network, beside those that the container has. `None` where the network has no places:
    /// the machine's own, and none at all.
    pub(in crate::engine) fn reserve(
        &self,
        definition: &Definition,
        name: &str,
        settings: &EndpointSettings,
        others: &[Endpoint],
    ) -> Result<Option<Endpoint>, EngineError> {
        let network = self.find(name)?;
        if network.config_only {
            return Err(EngineError::Forbidden(format!(
                "cannot create endpoint on configuration-only network {}",
                network.name
            )));
        }
        if network.driver != Driver::Bridge {
            return Ok(None);
        }
        let wanted = wanted(settings)?;
        let id = EndpointId::from_bytes(random_bytes()?);
        let interface = interface(&network, settings, others)?;
        let mut table = self.table();
        let entry = table.get_mut(&network.id).ok_or_else(|| EngineError::NoSuchNetwork(name.to_owned()))?;
        let [v4, v6] = take_places(entry, &wanted)?;
        let first = v4.iter().chain(&v6).next().map(|place| place.address.addr());
        let endpoint = Endpoint {
            mac: wanted
                .mac
                .unwrap_or_else(|| first.map_or_else(|| MacAddress::of_id(&id), MacAddress::of_any)),
            network: network.id.clone(),
            network_name: network.name.clone(),
            priority: settings.gw_priority.unwrap_or(0),
            interface,
            id: id.clone(),
            v4,
            v6,
        };
        let member = Member {
            container: definition.id.clone(),
            name: definition.name.clone(),
            endpoint: endpoint.clone(),
        };
        entry.members.insert(id, member);
        Ok(Some(endpoint))
    }

    /// A container has another name by now.
    pub(in crate::engine) fn rename(&self, endpoints: &[Endpoint], name: &str) {
        let mut table = self.table();
        for endpoint in endpoints {
            let entry = table.get_mut(&endpoint.network);
            if let Some(member) = entry.and_then(|entry| entry.members.get_mut(&endpoint.id)) {
                name.clone_into(&mut member.name);
            }
        }
    }

    /// Others may have its place. Does nothing for one that nobody has.
    pub(in crate::engine) fn release(&self, endpoint: &Endpoint) {
        let mut table = self.table();
        let Some(entry) = table.get_mut(&endpoint.network) else { return };
        if entry.members.remove(&endpoint.id).is_none() {
            return;
        }
        for place in endpoint.places() {
            let address = place.address.addr();
            let subnet = entry.addresses.iter_mut().find(|addresses| addresses.subnet().contains(&address));
            subnet.into_iter().for_each(|addresses| addresses.free(address));
        }
    }

    /// The place of a container that runs since before this engine did.
    pub(super) fn take_up(&self, member: &Member) {
        let endpoint = &member.endpoint;
        let mut table = self.table();
        let Some(entry) = table.get_mut(&endpoint.network) else {
            tracing::warn!("{} is on a network that is gone", member.container.short());
            return;
        };
        for place in endpoint.places() {
            let address = place.address.addr();
            let subnet = entry.addresses.iter_mut().find(|addresses| addresses.subnet().contains(&address));
            if subnet.is_none_or(|addresses| addresses.take(address).is_err()) {
                tracing::warn!(
                    "{} has the address {address}, which is not its own",
                    member.container.short()
                );
            }
        }
        entry.members.insert(endpoint.id.clone(), member.clone());
    }

    /// Puts `more` interfaces into a namespace, one an endpoint, and the routes that follow from `all`.
    pub(in crate::engine) async fn attach(
        &self,
        namespace: &Namespace,
        more: &[Endpoint],
        all: &[Endpoint],
    ) -> Result<(), EngineError> {
        for endpoint in more {
            self.switches.attach(namespace, &self.bridge_of(endpoint)?, endpoint).await?;
        }
        Ok(crate::network::route(namespace, all).await?)
    }

    /// Takes an interface out of whatever namespace it is in, and lets others have its place.
    pub(in crate::engine) async fn detach(&self, endpoint: &Endpoint) {
        // That it fails is our trouble, not that of whoever stops a container.
        if let Err(error) = self.switches.detach(endpoint).await {
            tracing::warn!("the interface {} stays: {error}", endpoint.outside());
        }
        self.release(endpoint);
    }

    fn bridge_of(&self, endpoint: &Endpoint) -> Result<Bridge, EngineError> {
        let table = self.table();
        let bridge = table.get(&endpoint.network).and_then(|entry| entry.network.bridge());
        bridge.ok_or_else(|| EngineError::NoSuchNetwork(endpoint.network_name.clone()))
    }
}

/// An address of each family that the network has, all or none.
fn take_places(entry: &mut Entry, wanted: &Wanted) -> Result<[Option<Place>; 2], EngineError> {
    let network = entry.network.clone();
    let mut places = [None, None];
    for (index, addresses) in entry.addresses.iter_mut().enumerate() {
        let net = addresses.subnet();
        let v4 = net.addr().is_ipv4();
        let wish = if v4 { wanted.v4 } else { wanted.v6 };
        match take(addresses, wish, &network) {
            Ok(address) => {
                let gateway = network.subnets[index].gateway.filter(|_| !network.internal);
                let address = IpNet::new(address, net.prefix_len()).unwrap_or(net);
                places[usize::from(!v4)] = Some(Place { address, gateway });
            }
            Err(error) => {
                for (addresses, place) in entry.addresses.iter_mut().zip(places.into_iter().flatten()) {
                    addresses.free(place.address.addr());
                }
                return Err(error);
            }
        }
    }
    Ok(places)
}

fn take(addresses: &mut Addresses, wish: Option<IpAddr>, network: &Network) -> Result<IpAddr, EngineError> {
    let taken = match wish {
        Some(address) => addresses.take(address).map(|()| address),
        None => addresses.take_lowest(),
    };
    taken.map_err(|why| match why {
        Refused::Exhausted => EngineError::Unavailable(format!(
            "no available {} addresses on this network's address pools: {} ({})",
            if addresses.subnet().addr().is_ipv4() { "IPv4" } else { "IPv6" },
            network.name,
            network.id
        )),
        Refused::Taken => EngineError::Forbidden("Address already in use".to_owned()),
        Refused::Outside => EngineError::Invalid(match wish {
            Some(address) if !addresses.subnet().contains(&address) => {
                format!("no configured subnet contains IP address {address}")
            }
            _ => "requested address is out of range".to_owned(),
        }),
    })
}

/// The first free name of the network's kind, or the one that was asked for.
fn interface(
    network: &Network,
    settings: &EndpointSettings,
    others: &[Endpoint],
) -> Result<String, EngineError> {
    let is_free = |name: &str| others.iter().all(|other| other.interface != name);
    if let Some(name) = settings.driver_opts.as_ref().and_then(|options| options.get(INTERFACE_OPTION)) {
        let name = super::options::interface(name)?;
        return match is_free(&name) && name != "lo" {
            true => Ok(name),
            false => Err(EngineError::Conflict(format!("the container has an interface {name} already"))),
        };
    }
    let prefix = BridgeOptions::parse(&network.options)?.prefix;
    let mut names = (0..MOST_INTERFACES).map(|number| format!("{prefix}{number}"));
    let full = || EngineError::Unavailable("the container has too many interfaces".to_owned());
    names.find(|name| is_free(name)).ok_or_else(full)
}
