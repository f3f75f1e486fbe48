//! All networks of this machine: their records, their bridges, and who has which address.
//!
//! ```text
//!   create ──► plan (pure) ──► record on the disk ──► bridge, filter ──► in the table
//!                                                         │ reserve / release: endpoints, addresses
//!   remove, when no endpoint is left ◄────────────────────┘
//! ```
//!
//! Addresses are handed out under one lock, so no two containers ever get the same one.

mod change;
mod endpoints;
mod join;
mod mode;
mod names;
mod options;
mod plan;
mod record;
mod serve;
mod wish;

pub(crate) use endpoints::Member;
pub(crate) use mode::{NetworkMode, PREDEFINED};
pub(crate) use names::{dns_names, has_embedded_dns};
pub(crate) use options::BridgeOptions;
pub(crate) use plan::CreateNetwork;
pub(crate) use record::{Driver, Ipam, IpamConfig, Network};
pub(super) use serve::{Names, uses_embedded_dns};
pub(super) use wish::check as check_wish;
pub(crate) use wish::{check_all as check_wishes, normalized};

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use holm_api::network::{GUEST_V4, GUEST_V6, PREFIX_V4, PREFIX_V6};
use holm_api::{EndpointId, NetworkId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::EngineError;
use super::names::random_bytes;
use crate::network::{Addresses, Bridge, DEFAULT_INTERFACE, Switches, netfilter, pools};
use record::Subnet;

const FILE: &str = "predefined.json";

/// All networks.
#[derive(Debug)]
pub(crate) struct Networks {
    folder: PathBuf,
    predefined: Predefined,
    /// Subnets that are somebody else's.
    elsewhere: Vec<IpNet>,
    switches: Switches,
    /// Whether packets between networks are stopped; `false` where the kernel cannot.
    filtered: bool,
    /// Held by whoever makes or removes a network.
    changing: tokio::sync::Mutex<()>,
    table: Mutex<BTreeMap<NetworkId, Entry>>,
}

/// A network and who is on it.
#[derive(Debug)]
struct Entry {
    network: Arc<Network>,
    addresses: Vec<Addresses>,
    members: BTreeMap<EndpointId, Member>,
}

impl Entry {
    fn new(network: Network) -> Self {
        let addresses = network.subnets.iter().map(|subnet| {
            let mut addresses = Addresses::new(subnet.net, subnet.range);
            for reserved in subnet.gateway.iter().chain(&subnet.auxiliary) {
                // What containers cannot have needs no reservation.
                let _ = addresses.take(*reserved);
            }
            addresses
        });
        Self { addresses: addresses.collect(), members: BTreeMap::new(), network: Arc::new(network) }
    }
}

/// Ids of the networks that every daemon has, made once and kept, because clients remember them; and where `docker0` is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Predefined {
    bridge: NetworkId,
    host: NetworkId,
    none: NetworkId,
    created: DateTime<Utc>,
    #[serde(default)]
    subnet: Option<IpNet>,
}

impl Network {
    /// Of its bridge.
    pub(crate) fn interface(&self) -> String {
        let named = BridgeOptions::parse(&self.options).ok().and_then(|options| options.interface);
        named.unwrap_or_else(|| format!("br-{}", self.id.short()))
    }

    /// What the machine has to be told of it; `None` of a network without a bridge.
    fn bridge(&self) -> Option<Bridge> {
        if self.driver != Driver::Bridge || self.config_only {
            return None;
        }
        // Checked when it was made.
        let options = BridgeOptions::parse(&self.options).ok()?;
        let own = |subnet: &Subnet| {
            let gateway = IpNet::new(subnet.gateway?, subnet.net.prefix_len()).ok()?;
            let [no_v4, no_v6] = options.isolated;
            let none = if gateway.addr().is_ipv4() { no_v4 || options.inhibit_ipv4 } else { no_v6 };
            (!none).then_some(gateway)
        };
        Some(Bridge {
            interface: self.interface(),
            gateways: self.subnets.iter().filter_map(own).collect(),
            mtu: options.mtu,
            isolated: !options.talkative,
        })
    }

    /// Where published ports of its containers are opened that name no address; `None` is everywhere.
    pub(in crate::engine) fn binding(&self) -> Option<IpAddr> {
        BridgeOptions::parse(&self.options).ok()?.binding.filter(|address| !address.is_unspecified())
    }

    /// All of its addresses.
    pub(in crate::engine) fn nets(&self) -> impl Iterator<Item = holm_api::services::Subnet> {
        self.subnets.iter().map(|subnet| holm_api::services::Subnet {
            address: subnet.net.addr(),
            prefix: subnet.net.prefix_len(),
        })
    }

    fn filtered(&self) -> Option<netfilter::Filtered> {
        let bridge = self.bridge()?;
        Some(netfilter::Filtered {
            interface: bridge.interface,
            internal: self.internal,
            talkative: !bridge.isolated,
        })
    }

    /// Whether every daemon has it.
    pub(crate) fn is_predefined(&self) -> bool {
        PREDEFINED.contains(&self.name.as_str())
    }
}

impl Networks {
    /// Reads the records, makes the bridges, and takes up the endpoints of containers that run now. `elsewhere` are
    /// the computer's routes. Call it inside a tokio runtime, which has to outlive it.
    pub(super) async fn open(
        folder: &Path,
        elsewhere: &[IpNet],
        in_use: &[Member],
    ) -> Result<Self, EngineError> {
        let read = || format!("cannot read {}", folder.display());
        let failed = |cause| EngineError::System { doing: read(), cause };
        fs::create_dir_all(folder).map_err(failed)?;
        let kept = Predefined::read(folder)?;
        let mut predefined = kept.clone().map_or_else(Predefined::new, Ok)?;
        let made = record::read_all(folder).map_err(failed)?;
        let mut elsewhere = elsewhere.to_vec();
        elsewhere.extend(own_nets());
        let occupied = in_use.iter().any(|member| member.endpoint.network == predefined.bridge);
        predefined.place(&made, &elsewhere, occupied);
        // Two waits for the disk that nearly no boot needs.
        if kept.as_ref() != Some(&predefined) {
            record::write_file(folder, &folder.join(FILE), &predefined)
                .map_err(EngineError::system("keep where docker0 is"))?;
        }
        let all = predefined.networks().into_iter().chain(made);
        let mut networks = Self {
            folder: folder.to_owned(),
            table: Mutex::new(all.map(|network| (network.id.clone(), Entry::new(network))).collect()),
            predefined,
            elsewhere,
            switches: Switches::open()?,
            filtered: false,
            changing: tokio::sync::Mutex::default(),
        };
        in_use.iter().for_each(|member| networks.take_up(member));
        networks.bring_up().await?;
        Ok(networks)
    }

    /// Makes all bridges, and the filter between them.
    async fn bring_up(&mut self) -> Result<(), EngineError> {
        let all = self.list();
        for network in &all {
            let Some(bridge) = network.bridge() else { continue };
            if let Err(error) = self.switches.ensure(&bridge).await {
                if network.is_predefined() {
                    return Err(error.into());
                }
                // Its containers say so when they start; the others are none the worse for it.
                tracing::warn!("network {} does not work: {}", network.name, EngineError::from(error));
            }
        }
        let filtered: Vec<_> = all.iter().filter_map(|network| network.filtered()).collect();
        match netfilter::install(&filtered).await {
            Ok(()) => self.filtered = true,
            Err(error) => {
                tracing::warn!("packets between networks are not stopped: {}", EngineError::from(error));
            }
        }
        Ok(())
    }

    /// An id that stays as long as the data disk.
    pub(crate) fn machine_id(&self) -> &NetworkId {
        &self.predefined.host
    }

    /// All of them, the predefined ones first and the others by name.
    pub(crate) fn list(&self) -> Vec<Arc<Network>> {
        let mut all: Vec<_> = self.table().values().map(|entry| entry.network.clone()).collect();
        all.sort_by_cached_key(|network| {
            (
                PREDEFINED.iter().position(|name| *name == network.name).unwrap_or(usize::MAX),
                network.name.clone(),
            )
        });
        all
    }

    /// By id, name or start of an id, in this order.
    pub(crate) fn find(&self, text: &str) -> Result<Arc<Network>, EngineError> {
        let table = self.table();
        let mut networks = table.values().map(|entry| &entry.network);
        let exact = |network: &&Arc<Network>| network.id.as_str() == text;
        let named = |network: &&Arc<Network>| network.name == text;
        if let Some(network) = networks.clone().find(exact).or_else(|| networks.clone().find(named)) {
            return Ok(network.clone());
        }
        let absent = || EngineError::NoSuchNetwork(text.to_owned());
        if text.is_empty() {
            return Err(absent());
        }
        let first = networks.find(|network| network.id.as_str().starts_with(text)).ok_or_else(absent)?;
        match networks.filter(|network| network.id.as_str().starts_with(text)).count() {
            0 => Ok(first.clone()),
            more => Err(EngineError::Invalid(format!(
                "network {text} is ambiguous ({} matches found based on ID prefix)",
                more + 1
            ))),
        }
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NetworkId, Entry>> {
        // Addresses and members change under the lock one at a time; a panic between the two leaves at worst an
        // address that nobody gets before the next start.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The machine's own way out, which is no container's to be in.
fn own_nets() -> [IpNet; 2] {
    let net = |address, prefix| IpNet::new(address, prefix).expect("constants of ours").trunc();
    [net(GUEST_V4.into(), PREFIX_V4), net(GUEST_V6.into(), PREFIX_V6)]
}

impl Predefined {
    /// Those of this data disk, once it has been used.
    fn read(folder: &Path) -> Result<Option<Self>, EngineError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| EngineError::system(format!("read {}", path.display()))(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EngineError::system(format!("read {}", path.display()))(error)),
        }
    }

    fn new() -> Result<Self, EngineError> {
        let id = || random_bytes().map(NetworkId::from_bytes);
        Ok(Self { bridge: id()?, host: id()?, none: id()?, created: Utc::now(), subnet: None })
    }

    /// Finds a place for `docker0`: where it was, or where Docker has it, unless that is somebody else's by now. It
    /// does not move while it is `occupied`.
    fn place(&mut self, made: &[Network], elsewhere: &[IpNet], occupied: bool) {
        let nets: Vec<IpNet> =
            made.iter().flat_map(|network| &network.subnets).map(|subnet| subnet.net).collect();
        let taken = nets.iter().chain(elsewhere);
        let default = || pools::DEFAULT_BRIDGE.parse().expect("a constant that a test reads");
        let wanted = self.subnet.unwrap_or_else(default);
        let stays = occupied && self.subnet.is_some();
        if !stays && !pools::is_free(wanted, taken.clone()) {
            // An engine without a default network is of less use than one in the way of a route.
            self.subnet = Some(pools::free_v4(taken).unwrap_or_else(|| {
                tracing::warn!(
                    "no subnet is free for docker0; it takes {wanted}, which clashes with a route"
                );
                wanted
            }));
        } else {
            self.subnet = Some(wanted);
        }
    }

    fn networks(&self) -> [Network; 3] {
        let network = |id: &NetworkId, name: &str, driver| Network {
            ipam: Ipam { driver: "default".to_owned(), ..Ipam::default() },
            ..Network::new(id.clone(), name, self.created, driver)
        };
        let mut bridge = network(&self.bridge, "bridge", Driver::Bridge);
        bridge.options = [
            ("com.docker.network.bridge.default_bridge", "true".to_owned()),
            ("com.docker.network.bridge.enable_icc", "true".to_owned()),
            ("com.docker.network.bridge.enable_ip_masquerade", "false".to_owned()),
            ("com.docker.network.bridge.host_binding_ipv4", "0.0.0.0".to_owned()),
            ("com.docker.network.bridge.name", DEFAULT_INTERFACE.to_owned()),
            ("com.docker.network.driver.mtu", crate::network::MTU.to_string()),
        ]
        .map(|(option, value)| (option.to_owned(), value))
        .into();
        bridge.subnets = self
            .subnet
            .iter()
            .map(|net| Subnet { net: *net, range: None, gateway: net.hosts().next(), auxiliary: Vec::new() })
            .collect();
        [bridge, network(&self.host, "host", Driver::Host), network(&self.none, "none", Driver::Null)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn docker0_moves_only_when_something_is_in_its_way_and_nobody_is_there() {
        let mut predefined = Predefined::new().unwrap();
        let mut place = |elsewhere: &[&str], occupied| {
            predefined.place(&[], &nets(elsewhere), occupied);
            predefined.subnet.unwrap().to_string()
        };
        assert_eq!(place(&[], false), "172.17.0.0/16");
        assert_eq!(place(&["172.17.0.0/24"], true), "172.17.0.0/16");
        assert_eq!(place(&["172.17.0.0/24"], false), "172.18.0.0/16");
        // It stays there when the way is free again: containers may have it written down.
        assert_eq!(place(&[], false), "172.18.0.0/16");
    }

    #[test]
    fn the_predefined_networks_have_one_id_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Predefined::read(folder.path()).unwrap(), None);
        let first = Predefined::new().unwrap();
        record::write_file(folder.path(), &folder.path().join(FILE), &first).unwrap();
        assert_eq!(Predefined::read(folder.path()).unwrap(), Some(first));
    }
}
