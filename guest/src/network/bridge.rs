//! The default bridge: a switch inside the machine with a gateway address, and a veth pair for each container.
//!
//! The engine keeps the endpoints; here is only which addresses are taken. The machine's end of a pair is named
//! after the address, so whatever a killed engine left in the way of a new pair is found and removed.

use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::addresses::{Addresses, Refused};
use super::netlink::{LOOPBACK, Netlink, failed};
use super::{Endpoint, EndpointRequest, MTU, MacAddress, NetworkError};

/// Docker's name of the default network.
const NETWORK: &str = "bridge";
/// Docker's name of its interface.
const INTERFACE: &str = "docker0";
/// The interface in a container.
const CONTAINER_INTERFACE: &str = "eth0";
/// Docker's first choice for the default network.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 17, 0, 1);
const PREFIX: u8 = 16;

/// `docker0`.
#[derive(Debug)]
pub struct Bridge {
    netlink: Netlink,
    index: u32,
    addresses: Mutex<Addresses>,
}

impl Bridge {
    /// Makes the bridge, or adopts the one that an earlier engine made. `in_use` are the endpoints of
    /// containers that run now. Call it inside a tokio runtime, which has to outlive the bridge.
    pub async fn ensure(in_use: &[Endpoint]) -> Result<Self, NetworkError> {
        let netlink = Netlink::open()?;
        // With a fixed MAC address: a bridge without one takes the lowest of its ports', and every container
        // that comes or goes would change what the others have in their ARP caches.
        let bridge = LinkBridge::new(INTERFACE).address(MacAddress::of(GATEWAY).0.to_vec()).mtu(MTU).build();
        netlink.create(INTERFACE, bridge).await?;
        let index = netlink.index(INTERFACE).await?;
        netlink.add_address(index, GATEWAY.into(), PREFIX).await?;
        netlink.up(index, Some(MTU)).await?;
        let mut addresses = Addresses::new(GATEWAY, PREFIX);
        for endpoint in in_use {
            addresses.take(endpoint.address).map_err(|why| not_given(why, endpoint.address))?;
        }
        Ok(Self { netlink, index, addresses: Mutex::new(addresses) })
    }

    /// Sets an address aside, so that the container's files can name it before it runs. [`Self::release`] it
    /// whatever happens next.
    pub fn reserve(&self, request: &EndpointRequest) -> Result<Endpoint, NetworkError> {
        let address = match request.address {
            None => self.addresses().take_lowest().map_err(|why| not_given(why, GATEWAY))?,
            Some(address) => {
                self.addresses().take(address).map_err(|why| not_given(why, address))?;
                address
            }
        };
        let mac = request.mac.unwrap_or_else(|| MacAddress::of(address));
        Ok(Endpoint { address, prefix: PREFIX, gateway: GATEWAY, mac })
    }

    /// Gives the network namespace of `pid` its `eth0`, with address and default route, and its `lo`. Where it
    /// fails, nothing is left behind.
    pub async fn attach(&self, pid: i32, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let attached = self.try_attach(pid, endpoint).await;
        if attached.is_err() {
            self.netlink.remove(&endpoint.interface()).await?;
        }
        attached
    }

    /// Removes the endpoint's interfaces, which may be gone already, and lets others have its address.
    pub async fn release(&self, endpoint: &Endpoint) -> Result<(), NetworkError> {
        // Before the address is free: the kernel takes a namespace down some time after its last process, and
        // the next to have the address would find the name in use.
        let removed = self.netlink.remove(&endpoint.interface()).await;
        self.addresses().free(endpoint.address);
        removed.map(drop)
    }

    async fn try_attach(&self, pid: i32, endpoint: &Endpoint) -> Result<(), NetworkError> {
        let inside = Netlink::open_in(pid).await?;
        let name = endpoint.interface();
        if !self.netlink.create(&name, self.pair(pid, endpoint)?).await? {
            self.netlink.remove(&name).await?;
            if !self.netlink.create(&name, self.pair(pid, endpoint)?).await? {
                let cause = std::io::ErrorKind::AlreadyExists.into();
                return Err(failed(format!("create the interface {name} or {CONTAINER_INTERFACE}"))(cause));
            }
        }
        inside.up(LOOPBACK, None).await?;
        let eth0 = inside.index(CONTAINER_INTERFACE).await?;
        inside.add_address(eth0, endpoint.address.into(), endpoint.prefix).await?;
        inside.up(eth0, None).await?;
        inside.default_route(eth0, endpoint.gateway.into()).await
    }

    /// A veth pair made in one go: this end in the bridge, the other already in the container's namespace under
    /// its final name, so that there is no moment in which it could be lost.
    fn pair(
        &self,
        pid: i32,
        endpoint: &Endpoint,
    ) -> Result<rtnetlink::packet_route::link::LinkMessage, NetworkError> {
        let pid = u32::try_from(pid)
            .map_err(|_| failed(format!("find process {pid}"))(std::io::ErrorKind::InvalidInput.into()))?;
        let peer = LinkUnspec::new_with_name(CONTAINER_INTERFACE)
            .address(endpoint.mac.0.to_vec())
            .mtu(MTU)
            .setns_by_pid(pid)
            .build();
        Ok(LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(endpoint.interface())
            .mtu(MTU)
            .controller(self.index)
            .up()
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build())
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        // Every change is one insertion or removal, so a panic elsewhere leaves the table right.
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_given(why: Refused, address: Ipv4Addr) -> NetworkError {
    match why {
        Refused::Exhausted => NetworkError::PoolExhausted { network: NETWORK.into() },
        Refused::Taken => NetworkError::AddressTaken(address),
        Refused::Outside => NetworkError::AddressOutside(address),
    }
}
