//! The machine's only way out: a TUN device whose packets go to the host's gateway over one stream.
//!
//! ```text
//!   docker0, the machine itself ── holm0 (TUN, 192.168.65.3) ── thread ═ frames ═ host port 1027 ── gateway
//! ```
//!
//! The stream is opened once: a machine lives no longer than the host's daemon, and neither does its token.

mod pump;
mod tun;

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use holm_api::link::Token;
use holm_api::network::{GATEWAY_V4, GATEWAY_V6, GUEST_V4, GUEST_V6, PREFIX_V4, PREFIX_V6};
use holm_api::port;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::netlink::{LOOPBACK, Netlink, failed};
use super::{MTU, NetworkError};
use crate::transport::Transport;

/// Name of the TUN device.
const INTERFACE: &str = "holm0";

/// The open way out. Dropping it does not close it: its two threads end with the stream.
#[derive(Debug)]
pub struct Uplink {
    ends: mpsc::Receiver<String>,
}

impl Uplink {
    /// Switches `lo` on, opens the device and the stream, and routes everything that is not local there.
    /// Without IPv6 in the kernel there is a warning and no IPv6.
    pub async fn open(
        transport: &Transport,
        token: &Token,
        warnings: &mut Vec<String>,
    ) -> Result<Self, NetworkError> {
        let device = tun::open(INTERFACE).map_err(failed(format!("open the device {INTERFACE}")))?;
        let netlink = Netlink::open()?;
        netlink.up(LOOPBACK, None).await?;
        let index = netlink.index(INTERFACE).await?;
        netlink.add_address(index, GUEST_V4.into(), PREFIX_V4).await?;
        netlink.up(index, Some(MTU)).await?;
        route(&netlink, index, GATEWAY_V4.into(), &["ipv4/ip_forward"]).await?;
        if Path::new("/proc/sys/net/ipv6").exists() {
            netlink.add_address(index, GUEST_V6.into(), PREFIX_V6).await?;
            let forward = ["ipv6/conf/all/forwarding", "ipv6/conf/default/forwarding"];
            route(&netlink, index, GATEWAY_V6.into(), &forward).await?;
        } else {
            warnings.push("the kernel has no IPv6: containers have IPv4 only".into());
        }

        let step = || failed("reach the host's gateway");
        let mut stream = transport.connect_host(port::NETWORK).await.map_err(|error| step()(error))?;
        stream.write_all(&token.0).await.map_err(|error| step()(error))?;
        // Two threads end, each of them once.
        let (tell, ends) = mpsc::channel(2);
        pump::start(device, stream.into_socket(), tell).map_err(failed("start a thread"))?;
        Ok(Self { ends })
    }

    /// Returns with the reason when packets no longer go one way or the other, once for each; never otherwise.
    /// May be dropped while it waits.
    pub async fn ended(&mut self) -> String {
        match self.ends.recv().await {
            Some(reason) => reason,
            None => std::future::pending().await,
        }
    }
}

/// The default route, and packets of others may take it.
async fn route(
    netlink: &Netlink,
    index: u32,
    gateway: IpAddr,
    switches: &[&str],
) -> Result<(), NetworkError> {
    for switch in switches {
        let path = Path::new("/proc/sys/net").join(switch);
        fs::write(&path, "1")
            .map_err(|error: io::Error| failed(format!("switch on {}", path.display()))(error))?;
    }
    netlink.default_route(index, gateway).await
}
