//! The gateway: the guest's IP packets become ordinary sockets of this program, so a container's connections
//! look to VPNs, proxies and firewalls like any program's, and need no rights.
//!
//! ```text
//!   guest's TUN ═ stream ═► frame ► packet ► route ┬► tcp ─── one TcpStream a flow
//!                                                  ├► udp ─── one UdpSocket a guest port; dns
//!                 stream ◄═ frame ◄ downlink ◄─────┴► ping ── one ping socket a conversation
//! ```
//!
//! One task owns all of it (`session`); flows are found by hash, woken through `ready`, timed by `timers`, so
//! a packet costs the same whatever the number of flows. Every queue and table has a limit. Fragments of IPv4
//! packets are dropped: with an MTU of 65,000 only a datagram over a container's smaller MTU makes any.

mod budget;
mod core;
mod dns;
mod downlink;
mod frame;
mod icmp;
mod os;
mod packet;
mod ping;
mod ready;
mod route;
mod session;
mod stats;
mod tcp;
mod timers;
mod udp;

use std::io;
use std::sync::Arc;

use holm_vmm::Stream;

pub(crate) use self::dns::Resolvers;
pub(crate) use self::stats::Stats;

/// The gateway's limits, and whom it asks for names.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    /// TCP flows at once. Each is a descriptor of this process: a limit of open files below this one shows as
    /// connections that time out.
    pub(crate) most_tcp_flows: usize,
    /// TCP flows that are not established, so at most this many connects of the host are under way.
    pub(crate) most_half_open: usize,
    /// UDP ports of the guest in use at once.
    pub(crate) most_udp_flows: usize,
    /// Pings to the outside at once.
    pub(crate) most_ping_flows: usize,
    /// Bytes of buffers beyond the 16 KiB that each direction of each flow may have anyway.
    pub(crate) buffer_budget: usize,
    /// The DNS servers behind the gateway's own.
    pub(crate) resolvers: Resolvers,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            most_tcp_flows: 12_000,
            most_half_open: 1_024,
            most_udp_flows: 2_048,
            most_ping_flows: 256,
            buffer_budget: 64 << 20,
            resolvers: Resolvers::System,
        }
    }
}

/// The way out for one guest.
pub(crate) struct Gateway {
    config: GatewayConfig,
    dns: dns::Dns,
    counters: Arc<stats::Counters>,
}

impl Gateway {
    /// A gateway that nobody uses yet. Opens nothing.
    pub(crate) fn new(config: GatewayConfig) -> Self {
        let dns = dns::Dns::new(config.resolvers.clone());
        Self { config, dns, counters: Arc::default() }
    }

    /// Serves the guest's packets on `stream`, whose token has been taken off, until it ends; then every flow
    /// is dropped. May be called again with the next stream, not with two at once. Needs a tokio runtime with
    /// I/O and time. An error is the stream's own.
    pub(crate) async fn serve(&self, stream: Stream) -> io::Result<()> {
        session::Session::new(stream, &self.config, self.dns.clone(), Arc::clone(&self.counters)).run().await
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot()
    }
}
