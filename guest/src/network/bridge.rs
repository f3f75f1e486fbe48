//! Bridges inside the machine, each with its gateway addresses, and veth pairs that join containers to them.
//!
//! The engine keeps the endpoints; nothing is remembered here. The machine's end of a pair is named after its
//! address, so whatever a killed engine left in the way of a new pair is found and removed.

use std::os::fd::AsRawFd;

use ipnet::IpNet;
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::endpoint::{Family, way_out};
use super::namespace::Namespace;
use super::netlink::{LOOPBACK, Netlink, failed};
use super::{Endpoint, MacAddress, NetworkError};

/// A network's switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its interface: `docker0`, `br-0123456789ab`.
    pub interface: String,
    /// Its own addresses, which are the containers' gateways.
    pub gateways: Vec<IpNet>,
    /// Bytes of its largest packet.
    pub mtu: u32,
    /// Its ports reach the machine alone, not each other.
    pub isolated: bool,
}

/// The machine's interfaces.
#[derive(Debug)]
pub struct Switches {
    netlink: Netlink,
}

impl Switches {
    /// Call it inside a tokio runtime, which has to outlive it.
    pub fn open() -> Result<Self, NetworkError> {
        Ok(Self { netlink: Netlink::open()? })
    }

    /// Whether the machine has an interface of this name.
    pub async fn has(&self, interface: &str) -> Result<bool, NetworkError> {
        Ok(self.netlink.find(interface).await?.is_some())
    }

    /// Makes a bridge, or adopts the one that an earlier engine made.
    pub async fn ensure(&self, bridge: &Bridge) -> Result<(), NetworkError> {
        let name = &bridge.interface;
        // With a fixed MAC address: a bridge without one takes the lowest of its ports', and every container
        // that comes or goes would change what the others have in their ARP caches.
        let mut link = LinkBridge::new(name).mtu(bridge.mtu);
        if let Some(gateway) = bridge.gateways.first() {
            link = link.address(MacAddress::of_any(gateway.addr()).0.to_vec());
        }
        self.netlink.create(name, link.build()).await?;
        let index = self.netlink.index(name).await?;
        for gateway in &bridge.gateways {
            self.netlink.add_address(index, gateway.addr(), gateway.prefix_len()).await?;
        }
        self.netlink.up(index, Some(bridge.mtu)).await
    }

    /// Removes a bridge, which may be gone already.
    pub async fn remove(&self, interface: &str) -> Result<(), NetworkError> {
        self.netlink.remove(interface).await.map(drop)
    }

    /// Gives a namespace its interface in this bridge's network, and its `lo`. Where it fails, nothing is left behind.
    pub async fn attach(
        &self,
        namespace: &Namespace,
        bridge: &Bridge,
        endpoint: &Endpoint,
    ) -> Result<(), NetworkError> {
        let attached = self.try_attach(namespace, bridge, endpoint).await;
        if attached.is_err() {
            self.detach(endpoint).await?;
        }
        attached
    }

    /// Removes the endpoint's interfaces, which may be gone already. Its address must not be another's before that:
    /// the kernel takes a namespace down some time after its last process, and the next to have the address would find
    /// the name in use.
    pub async fn detach(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        self.netlink.remove(&endpoint.outside()).await.map(drop)
    }

    async fn try_attach(
        &self,
        namespace: &Namespace,
        bridge: &Bridge,
        endpoint: &Endpoint,
    ) -> Result<(), NetworkError> {
        let inside = Netlink::open_in(namespace).await?;
        let (name, own) = (endpoint.outside(), &endpoint.interface);
        let index = self.netlink.index(&bridge.interface).await?;
        let pair = || pair(namespace, index, bridge.mtu, endpoint);
        if !self.netlink.create(&name, pair()).await? {
            self.netlink.remove(&name).await?;
            if !self.netlink.create(&name, pair()).await? {
                let cause = std::io::ErrorKind::AlreadyExists.into();
                return Err(failed(format!("create the interface {name} or {own}"))(cause));
            }
        }
        if bridge.isolated {
            self.netlink.isolate(&name).await?;
        }
        inside.up(LOOPBACK, None).await?;
        let own = inside.index(own).await?;
        for place in endpoint.places() {
            inside.add_address(own, place.address.addr(), place.address.prefix_len()).await?;
        }
        inside.up(own, None).await
    }
}

/// Gives a namespace the default routes that follow from the endpoints it has.
pub async fn route(namespace: &Namespace, endpoints: &[Endpoint]) -> Result<(), NetworkError> {
    let inside = Netlink::open_in(namespace).await?;
    for family in [Family::V4, Family::V6] {
        if let Some((endpoint, gateway)) = way_out(endpoints, family) {
            inside.default_route(inside.index(&endpoint.interface).await?, gateway).await?;
        }
    }
    Ok(())
}

/// A veth pair made in one go: this end in the bridge, the other already in the container's namespace under its final
/// name, so that there is no moment in which it could be lost.
fn pair(namespace: &Namespace, bridge: u32, mtu: u32, endpoint: &Endpoint) -> LinkMessage {
    let peer = LinkUnspec::new_with_name(&endpoint.interface)
        .address(endpoint.mac.0.to_vec())
        .mtu(mtu)
        .setns_by_fd(namespace.file().as_raw_fd())
        .build();
    LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(endpoint.outside())
        .mtu(mtu)
        .controller(bridge)
        .up()
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build()
}
