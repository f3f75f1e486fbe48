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
//! a packet costs the same whatever the number of flows. Every queue and table has a limit.

mod budget;
mod core;
mod dns;
mod downlink;
mod fragments;
mod frame;
mod icmp;
pub(crate) mod inlet;
mod os;
mod packet;
mod ping;
mod ready;
mod route;
mod session;
mod shares;
mod stats;
mod tcp;
mod timers;
mod udp;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holm_vmm::Stream;

pub(crate) use self::stats::Stats;
pub(crate) use self::tcp::reset;

/// The gateway's limits, and whom it asks for names.
#[derive(Clone, Debug)]
pub(crate) struct GatewayConfig {
    /// TCP flows at once. Each is a descriptor of this process: a limit of open files below this one shows as
    /// connections that time out.
    pub(crate) most_tcp_flows: usize,
    /// TCP flows of published ports at once, apart from the others.
    pub(crate) most_inbound_flows: usize,
    /// TCP flows that are not established, so at most this many connects of the host are under way.
    pub(crate) most_half_open: usize,
    /// UDP ports of the guest in use at once.
    pub(crate) most_udp_flows: usize,
    /// Pings to the outside at once.
    pub(crate) most_ping_flows: usize,
    /// Bytes of buffers beyond the 16 KiB that each direction of each flow may have anyway.
    pub(crate) buffer_budget: usize,
    /// The DNS servers behind the gateway's own, and nothing else that knows names; `None`: the host's, its
    /// hosts file and whatever else it has.
    pub(crate) resolvers: Option<Vec<SocketAddr>>,
    /// How long one of them may take.
    pub(crate) resolver_patience: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            most_tcp_flows: 12_000,
            most_inbound_flows: 6_000,
            most_half_open: 1_024,
            most_udp_flows: 2_048,
            most_ping_flows: 256,
            buffer_budget: 64 << 20,
            resolvers: None,
            // Three attempts end before clients, which wait five seconds, ask again.
            resolver_patience: Duration::from_millis(1500),
        }
    }
}

/// The way out for one guest.
pub(crate) struct Gateway {
    config: GatewayConfig,
    dns: dns::Dns,
    counters: Arc<stats::Counters>,
    inlet: inlet::Inlet,
    orders: inlet::Sender,
}

impl Gateway {
    /// A gateway that nobody uses yet. Opens nothing.
    pub(crate) fn new(config: GatewayConfig) -> Self {
        let dns = dns::Dns::new(config.resolvers.clone(), config.resolver_patience);
        let (orders, inlet) = inlet::Inlet::new();
        Self { config, dns, counters: Arc::default(), inlet, orders }
    }

    /// Takes what published ports bring. Served while a stream is; what was brought goes with that stream.
    pub(crate) fn orders(&self) -> inlet::Sender {
        self.orders.clone()
    }

    /// Serves the guest's packets on `stream`, whose token has been taken off, until it ends; then every flow
    /// is dropped. May be called again with the next stream, not with two at once. Needs a tokio runtime with
    /// I/O and time. An error is the stream's own.
    pub(crate) async fn serve(&self, stream: Stream) -> io::Result<()> {
        let (dns, counters) = (self.dns.clone(), Arc::clone(&self.counters));
        session::Session::new(stream, &self.config, dns, counters, self.inlet.clone()).run().await
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> Stats {
        self.counters.snapshot()
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod fuzz {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use holm_api::network::{GATEWAY_V4, Offload};
    use smoltcp::wire::{IpProtocol, Ipv4Packet};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Serves these packets to their end.
    fn serve(packets: Vec<Vec<u8>>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let config = GatewayConfig { resolvers: Some(Vec::new()), ..Default::default() };
            let gateway = Arc::new(Gateway::new(config));
            let (guest, host) = tokio::io::duplex(1 << 16);
            let (mut reader, mut writer) = tokio::io::split(guest);
            let drain =
                async move { while reader.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {} };
            let write = async move {
                for packet in packets {
                    writer.write_u16(packet.len() as u16).await.unwrap();
                    writer.write_all(&[0; Offload::BYTES]).await.unwrap();
                    writer.write_all(&packet).await.unwrap();
                }
                writer.shutdown().await.unwrap();
            };
            let (served, (), ()) = tokio::join!(gateway.serve(Box::new(host)), drain, write);
            served.unwrap();
            assert_eq!(gateway.stats().tcp_flows, 0);
        });
    }

    #[test]
    fn no_packets_break_the_gateway() {
        bolero::check!().with_type::<Vec<Vec<u8>>>().for_each(|packets| serve(packets.clone()));
    }

    /// Transport headers as they come, behind an IP header that lets them in; never to the outside. Long enough for
    /// an ICMP message with the packet that it is about.
    #[test]
    fn no_transport_header_breaks_the_gateway() {
        type Input = (u8, bool, [u8; 24], [u8; 12]);
        bolero::check!().with_type::<Vec<Input>>().for_each(|inputs| {
            let packet = |(protocol, usual, payload, rest): &Input| {
                let protocol =
                    [IpProtocol::Tcp, IpProtocol::Udp, IpProtocol::Icmp][usize::from(protocol % 3)];
                let mut bytes = vec![0; 20];
                bytes.extend_from_slice(payload);
                bytes.extend_from_slice(rest);
                let mut header = Ipv4Packet::new_unchecked(&mut bytes[..]);
                header.set_version(4);
                header.set_header_len(20);
                header.set_total_len(56);
                header.set_next_header(protocol);
                header.set_src_addr(Ipv4Addr::new(172, 17, 0, 2));
                header.set_dst_addr(GATEWAY_V4);
                header.fill_checksum();
                if *usual {
                    // The DNS server's port, and a TCP header without options: one flow, deep into its states. Of
                    // ICMP, the word of a packet of that flow's that is too long.
                    bytes[20..24].copy_from_slice(&[0, 1, 0, 53]);
                    bytes[32] = 0x50;
                    if protocol == IpProtocol::Icmp {
                        bytes[20..22].copy_from_slice(&[3, 4]);
                        bytes[28] = 0x45;
                        bytes[37] = IpProtocol::Tcp.into();
                        bytes[40..44].copy_from_slice(&GATEWAY_V4.octets());
                        bytes[44..48].copy_from_slice(&[172, 17, 0, 2]);
                        bytes[48..52].copy_from_slice(&[0, 53, 0, 1]);
                    }
                }
                bytes
            };
            serve(inputs.iter().map(packet).collect());
        });
    }
}
