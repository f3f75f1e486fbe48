//! Interfaces, addresses and routes inside the machine.
//!
//! ```text
//!   container: eth0 ── veth ── docker0 (172.17.0.1/16) ──┬── routed, not masqueraded ── holm0 ── the host's gateway
//!              eth1 ── veth ── br-0123456789ab ──────────┘ filtered: no way from one bridge to another
//! ```
//!
//! A container's network namespace is not pinned: it belongs to the container's processes and goes with them,
//! and its end of the veth pair takes the other one along.

mod addresses;
mod bridge;
mod counters;
pub mod dns;
mod endpoint;
mod listeners;
mod namespace;
pub mod netfilter;
mod netlink;
pub(crate) mod pools;
mod uplink;

pub use addresses::{Addresses, Refused};
pub use bridge::{Bridge, Switches, route};
pub use counters::{Counters, counters};
pub use endpoint::{Endpoint, Family, MacAddress, Place, way_out};
pub use listeners::shown_ports;
pub use namespace::Namespace;
pub use uplink::Uplink;

use std::io;

/// Bytes of the largest packet on `docker0` and in containers: that of `holm0`, as in Docker Desktop's machine,
/// not Ethernet's 1,500. Nothing between a container and the host's gateway is a wire, and every packet costs a
/// wake-up and a copy on either side: a TCP flow was measured to carry 4 times as much upwards and 18 times
/// downwards. What leaves the computer is cut by the host's own network stack.
pub const MTU: u32 = holm_api::network::MTU as u32;

/// Name of the default network's bridge.
pub const DEFAULT_INTERFACE: &str = "docker0";

/// Why an interface is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
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
    netlink::Netlink::open_in(&Namespace::of(pid)?).await?.up(netlink::LOOPBACK, None).await
}
