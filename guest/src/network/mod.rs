//! Interfaces, addresses and routes inside the machine.
//!
//! ```text
//!   container: eth0 ── veth ── docker0 (172.17.0.1/16) ── routed, not masqueraded ── holm0 ── the host's gateway
//! ```
//!
//! A container's network namespace is not pinned: it belongs to the container's processes and goes with them,
//! and its end of the veth pair takes the other one along.

mod addresses;
mod bridge;
mod counters;
mod endpoint;
mod netlink;
mod uplink;

pub use bridge::Bridge;
pub use counters::{Counters, counters};
pub use endpoint::{Endpoint, EndpointRequest, MacAddress};
pub use uplink::Uplink;

use std::io;
use std::net::Ipv4Addr;

/// Bytes of the largest packet on `docker0` and in containers: that of `holm0`, as in Docker Desktop's machine,
/// not Ethernet's 1,500. Nothing between a container and the host's gateway is a wire, and every packet costs a
/// wake-up and a copy on either side: a TCP flow was measured to carry 4 times as much upwards and 18 times
/// downwards. What leaves the computer is cut by the host's own network stack.
pub const MTU: u32 = holm_api::network::MTU as u32;

/// Why an interface is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Every address of the network is taken. Docker's words.
    #[error("no available IPv4 addresses on this network's address pools: {network}")]
    PoolExhausted {
        /// Its name.
        network: String,
    },
    /// The address asked for is taken. Docker's words.
    #[error("Address already in use")]
    AddressTaken(Ipv4Addr),
    /// The address asked for is none of the network's, or not a container's to have.
    #[error("no configured subnet contains IP address {0}")]
    AddressOutside(Ipv4Addr),
    /// A request to the kernel failed.
    #[error("cannot {step}")]
    Kernel {
        /// What was asked for, as an infinitive.
        step: String,
        /// Its answer.
        #[source]
        cause: io::Error,
    },
}

#[cfg(test)]
mod tests;

/// Gives the network namespace of `pid` nothing but a working `lo`, as Docker's network `none` does.
pub async fn loopback_only(pid: i32) -> Result<(), NetworkError> {
    netlink::Netlink::open_in(pid).await?.up(netlink::LOOPBACK, None).await
}
