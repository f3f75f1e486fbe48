//! Composing packets for the guest, straight into the outbox: one copy of the payload. Checksums of TCP and UDP are
//! left to the guest's kernel, which leaves them out again where a packet stays in the machine; so is the cutting
//! of a long TCP segment. A packet for which there is no room is not composed; callers that must not lose one
//! ask first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use holm_api::network::{Checksum, Family, MTU, Offload, Segments};
use holm_vmm::Stream;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpRepr,
    UDP_HEADER_LEN, UdpPacket,
};

use super::frame::{LONGEST_PACKET, Outbox};

const HOP_LIMIT: u8 = 64;
/// Where the checksum stands in a TCP header, and in UDP's.
const TCP_CHECKSUM: usize = 16;
const UDP_CHECKSUM: usize = 6;

/// Everything that goes to the guest goes through here.
pub(super) struct Downlink {
    outbox: Outbox,
    /// Identifies packets that may be cut into fragments on the way to a container.
    ident: u16,
}

/// Whether routers in the guest may cut the packet for a device with a smaller MTU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fragments {
    Allowed,
    Forbidden,
}

/// What a TCP packet carries.
#[derive(Clone, Copy)]
pub(super) struct Payload {
    /// Bytes in all.
    pub(super) length: usize,
    /// Bytes that one segment may have.
    pub(super) segment: usize,
}

impl Downlink {
    pub(super) fn new() -> Self {
        Self { outbox: Outbox::new(), ident: 0 }
    }

    /// Whether a packet of any size fits.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    /// As [`Outbox::poll_flush`].
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(stream, context, progress)
    }

    /// A TCP segment without payload. `repr` is its header. `false`: no room.
    pub(super) fn tcp(&mut self, source: IpAddr, destination: IpAddr, repr: &TcpRepr<'_>) -> bool {
        self.tcp_with(source, destination, repr, Payload { length: 0, segment: 0 }, |_| ())
    }

    /// A TCP segment, or several. `repr` is its header, its payload is written by `fill`. `false`: no room.
    pub(super) fn tcp_with(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        repr: &TcpRepr<'_>,
        payload: Payload,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let (header, network) = (repr.header_len(), ip_header_len(source));
        let family = if source.is_ipv4() { Family::V4 } else { Family::V6 };
        let offload = Offload {
            segments: (payload.length > payload.segment)
                .then_some(Segments { size: payload.segment as u16, family }),
            ..unsummed(network, header, TCP_CHECKSUM)
        };
        let length = header + payload.length;
        let Some(segment) =
            self.ip(source, destination, IpProtocol::Tcp, length, Fragments::Forbidden, &offload)
        else {
            return false;
        };
        let (from, to) = (IpAddress::from(source), IpAddress::from(destination));
        let mut packet = TcpPacket::new_unchecked(&mut *segment);
        repr.emit(&mut packet, &from, &to, &ChecksumCapabilities::ignored());
        packet.set_checksum(pseudo_header(source, destination, IpProtocol::Tcp, length));
        fill(&mut segment[header..]);
        true
    }

    /// A UDP datagram. `false`: no room, or longer than a packet can be.
    pub(super) fn udp(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> bool {
        let length = UDP_HEADER_LEN + payload.len();
        let (from, to) = (source.ip(), destination.ip());
        let offload = unsummed(ip_header_len(from), UDP_HEADER_LEN, UDP_CHECKSUM);
        let Some(datagram) = self.ip(from, to, IpProtocol::Udp, length, Fragments::Allowed, &offload) else {
            return false;
        };
        datagram[UDP_HEADER_LEN..].copy_from_slice(payload);
        let mut packet = UdpPacket::new_unchecked(datagram);
        packet.set_src_port(source.port());
        packet.set_dst_port(destination.port());
        packet.set_len(length as u16);
        packet.set_checksum(pseudo_header(from, to, IpProtocol::Udp, length));
        true
    }

    /// An ICMP or ICMPv6 message whose `length` bytes, checksum included, `fill` writes. `false`: no room.
    pub(super) fn icmp(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let protocol = super::icmp::protocol(source);
        match self.ip(source, destination, protocol, length, Fragments::Allowed, &Offload::default()) {
            Some(message) => {
                fill(message);
                true
            }
            None => false,
        }
    }

    /// Writes the IP header of a packet with `length` bytes of payload, and returns the place for them.
    fn ip(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        protocol: IpProtocol,
        length: usize,
        fragments: Fragments,
        offload: &Offload,
    ) -> Option<&mut [u8]> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total = IPV4_HEADER_LEN + length;
                if total > LONGEST_PACKET {
                    return None;
                }
                self.ident = self.ident.wrapping_add(1);
                let ident = self.ident;
                let bytes = self.outbox.packet(total, offload)?;
                let (header, payload) = bytes.split_at_mut(IPV4_HEADER_LEN);
                header.fill(0);
                let mut packet = Ipv4Packet::new_unchecked(header);
                packet.set_version(4);
                packet.set_header_len(IPV4_HEADER_LEN as u8);
                packet.set_total_len(total as u16);
                packet.set_ident(ident);
                packet.set_dont_frag(fragments == Fragments::Forbidden);
                packet.set_hop_limit(HOP_LIMIT);
                packet.set_next_header(protocol);
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
                packet.fill_checksum();
                Some(payload)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let total = IPV6_HEADER_LEN + length;
                // Nobody on the way may cut an IPv6 packet.
                if total > MTU {
                    return None;
                }
                let bytes = self.outbox.packet(total, offload)?;
                let (header, payload) = bytes.split_at_mut(IPV6_HEADER_LEN);
                header.fill(0);
                let mut packet = Ipv6Packet::new_unchecked(header);
                packet.set_version(6);
                packet.set_payload_len(length as u16);
                packet.set_next_header(protocol);
                packet.set_hop_limit(HOP_LIMIT);
                packet.set_src_addr(source);
                packet.set_dst_addr(destination);
                Some(payload)
            }
            _ => None,
        }
    }
}

/// Bytes of an IP header to `address`'s family.
fn ip_header_len(address: IpAddr) -> usize {
    if address.is_ipv4() { IPV4_HEADER_LEN } else { IPV6_HEADER_LEN }
}

/// A packet whose checksum stands at `place` of its transport header, and is left out.
fn unsummed(network: usize, transport: usize, place: usize) -> Offload {
    Offload {
        checksum: Some(Checksum { start: network as u16, offset: place as u16 }),
        headers: (network + transport) as u16,
        segments: None,
    }
}

/// The sum over what is no part of the packet (RFC 9293, 3.1; RFC 8200, 8.1), which whoever adds up the rest goes
/// on from: not complemented.
fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: IpProtocol, length: usize) -> u16 {
    let words = |address: IpAddr| -> u32 {
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                (bits >> 16) + (bits & 0xffff)
            }
            IpAddr::V6(address) => address.segments().map(u32::from).iter().sum(),
        }
    };
    // No packet is longer than 16 bits tell.
    let sum = words(source) + words(destination) + u32::from(u8::from(protocol)) + length as u32;
    let folded = (sum >> 16) + (sum & 0xffff);
    ((folded >> 16) + folded) as u16
}

#[cfg(test)]
impl Downlink {
    /// As [`Outbox::take`].
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.outbox.take()
    }
}
