//! Composing packets for the guest, straight into the outbox: one copy of the payload, one pass for its
//! checksum. A packet for which there is no room is not composed; callers that must not lose one ask first.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use holm_api::network::MTU;
use holm_vmm::Stream;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpRepr,
    UDP_HEADER_LEN, UdpPacket,
};

use super::frame::{LONGEST_PACKET, Outbox};

const HOP_LIMIT: u8 = 64;

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

    /// A TCP segment. `repr` is its header, its payload is `length` bytes that `fill` writes. `false`: no room.
    pub(super) fn tcp(
        &mut self,
        source: IpAddr,
        destination: IpAddr,
        repr: &TcpRepr<'_>,
        length: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> bool {
        let header = repr.header_len();
        let Some(segment) =
            self.ip(source, destination, IpProtocol::Tcp, header + length, Fragments::Forbidden)
        else {
            return false;
        };
        let (from, to) = (IpAddress::from(source), IpAddress::from(destination));
        let mut packet = TcpPacket::new_unchecked(&mut *segment);
        repr.emit(&mut packet, &from, &to, &ChecksumCapabilities::ignored());
        fill(&mut segment[header..]);
        TcpPacket::new_unchecked(segment).fill_checksum(&from, &to);
        true
    }

    /// A UDP datagram. `false`: no room, or longer than a packet can be.
    pub(super) fn udp(&mut self, source: SocketAddr, destination: SocketAddr, payload: &[u8]) -> bool {
        let length = UDP_HEADER_LEN + payload.len();
        let Some(datagram) =
            self.ip(source.ip(), destination.ip(), IpProtocol::Udp, length, Fragments::Allowed)
        else {
            return false;
        };
        datagram[UDP_HEADER_LEN..].copy_from_slice(payload);
        let mut packet = UdpPacket::new_unchecked(datagram);
        packet.set_src_port(source.port());
        packet.set_dst_port(destination.port());
        packet.set_len(length as u16);
        packet.fill_checksum(&source.ip().into(), &destination.ip().into());
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
        match self.ip(source, destination, super::icmp::protocol(source), length, Fragments::Allowed) {
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
    ) -> Option<&mut [u8]> {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let total = IPV4_HEADER_LEN + length;
                if total > LONGEST_PACKET {
                    return None;
                }
                self.ident = self.ident.wrapping_add(1);
                let ident = self.ident;
                let bytes = self.outbox.packet(total)?;
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
                let bytes = self.outbox.packet(total)?;
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

#[cfg(test)]
impl Downlink {
    /// As [`Outbox::take`].
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        self.outbox.take()
    }
}
