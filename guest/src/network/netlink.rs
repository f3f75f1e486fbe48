//! Asking the kernel for interfaces, addresses and routes (rtnetlink(7)), in this process' network namespace or
//! in another process'.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{LinkBridgePort, LinkUnspec, RouteMessageBuilder};
use tokio::task::JoinHandle;

use super::NetworkError;
use super::namespace::Namespace;

/// `lo` is the first interface of every namespace.
pub(super) const LOOPBACK: u32 = 1;

/// A netlink socket. It stays in the namespace where it was opened.
#[derive(Debug)]
pub(super) struct Netlink {
    handle: rtnetlink::Handle,
    pump: JoinHandle<()>,
}

impl Netlink {
    /// In this process' namespace. Call it inside a tokio runtime.
    pub(super) fn open() -> Result<Self, NetworkError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
        Ok(Self { handle, pump: tokio::spawn(connection) })
    }

    /// In another namespace.
    pub(super) async fn open_in(namespace: &Namespace) -> Result<Self, NetworkError> {
        let opened = namespace.enter(rtnetlink::new_connection).await;
        let (connection, handle, _) = opened.map_err(failed("open a netlink socket"))?;
        Ok(Self { handle, pump: tokio::spawn(connection) })
    }

    /// The index of an interface, where there is one of that name.
    pub(super) async fn find(&self, name: &str) -> Result<Option<u32>, NetworkError> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await {
            Ok(link) => Ok(link.map(|link| link.header.index)),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(refused(format!("find the interface {name}"))(error)),
        }
    }

    /// The index of an interface that must be there.
    pub(super) async fn index(&self, name: &str) -> Result<u32, NetworkError> {
        let missing = || failed(format!("find the interface {name}"))(io::ErrorKind::NotFound.into());
        self.find(name).await?.ok_or_else(missing)
    }

    /// Makes an interface. `false` where the name is in use.
    pub(super) async fn create(&self, name: &str, link: LinkMessage) -> Result<bool, NetworkError> {
        match self.handle.link().add(link).execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::EEXIST) => Ok(false),
            Err(error) => Err(refused(format!("create the interface {name}"))(error)),
        }
    }

    /// Removes an interface. `false` where there is none of that name.
    pub(super) async fn remove(&self, name: &str) -> Result<bool, NetworkError> {
        match self.handle.link().del_with_message(LinkUnspec::new_with_name(name).build()).execute().await {
            Ok(()) => Ok(true),
            Err(error) if errno(&error) == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(refused(format!("remove the interface {name}"))(error)),
        }
    }

    /// Switches an interface on, with this largest packet.
    pub(super) async fn up(&self, index: u32, mtu: Option<u32>) -> Result<(), NetworkError> {
        let mut link = LinkUnspec::new_with_index(index).up();
        if let Some(mtu) = mtu {
            link = link.mtu(mtu);
        }
        self.handle
            .link()
            .set(link.build())
            .execute()
            .await
            .map_err(refused(format!("switch on interface {index}")))
    }

    /// Gives an interface an address; it may have it already. One of IPv6 can be used at once: who else has it is
    /// ours to know, and nobody has to be asked.
    pub(super) async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> Result<(), NetworkError> {
        let mut request = self.handle.address().add(index, address, prefix).replace();
        if address.is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        request.execute().await.map_err(refused(format!("add the address {address}/{prefix}")))
    }

    /// Lets a port of a bridge reach the bridge alone, not its other ports.
    pub(super) async fn isolate(&self, name: &str) -> Result<(), NetworkError> {
        let index = self.index(name).await?;
        let port = LinkBridgePort::new(index).isolated(true).build();
        self.handle.link().set_port(port).execute().await.map_err(refused(format!("isolate {name}")))
    }

    /// Sends what has no other way through `gateway` on this interface; it may do so already.
    pub(super) async fn default_route(&self, index: u32, gateway: IpAddr) -> Result<(), NetworkError> {
        let step = format!("route through {gateway}");
        // The generic builder takes its address family from a destination, and a default route has none.
        let route = match gateway {
            IpAddr::V4(gateway) => {
                RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(index).build()
            }
            IpAddr::V6(gateway) => {
                RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).output_interface(index).build()
            }
        };
        self.handle.route().add(route).replace().execute().await.map_err(refused(step))
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Names the step that an error of the system happened in.
pub(super) fn failed(step: impl Into<String>) -> impl FnOnce(io::Error) -> NetworkError {
    move |cause| NetworkError::Kernel { step: step.into(), cause }
}

/// Names the step that the kernel refused.
fn refused(step: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> NetworkError {
    move |error| {
        let cause = errno(&error).map_or_else(|| io::Error::other(error), io::Error::from_raw_os_error);
        NetworkError::Kernel { step: step.into(), cause }
    }
}

/// The kernel's error number, where it answered with one.
fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.code.map(|code| code.get().abs()),
        _ => None,
    }
}
