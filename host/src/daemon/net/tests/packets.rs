//! Packets that no well-behaved stack would send, made by hand.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, UdpPacket};

/// An IPv4 packet.
pub(super) fn ip(source: Ipv4Addr, destination: Ipv4Addr, protocol: IpProtocol, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes.extend_from_slice(payload);
    let total = bytes.len() as u16;
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(4);
    packet.set_header_len(20);
    packet.set_total_len(total);
    packet.set_hop_limit(64);
    packet.set_next_header(protocol);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    packet.fill_checksum();
    bytes
}

/// The same packet with one router left to pass.
pub(super) fn at_its_last_hop(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes[0] >> 4 == 6 {
        bytes[7] = 1;
    } else {
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        packet.set_hop_limit(1);
        packet.fill_checksum();
    }
    bytes
}

/// An IPv6 packet.
pub(super) fn ip_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: IpProtocol,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = vec![0; 40];
    bytes.extend_from_slice(payload);
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
    packet.set_version(6);
    packet.set_payload_len(payload.len() as u16);
    packet.set_hop_limit(64);
    packet.set_next_header(protocol);
    packet.set_src_addr(source);
    packet.set_dst_addr(destination);
    bytes
}

/// A SYN.
pub(super) fn syn(source: SocketAddrV4, destination: SocketAddrV4) -> Vec<u8> {
    let mut segment = [0; 20];
    let mut packet = TcpPacket::new_unchecked(&mut segment[..]);
    packet.set_src_port(source.port());
    packet.set_dst_port(destination.port());
    packet.set_seq_number(smoltcp::wire::TcpSeqNumber(1000));
    packet.set_header_len(20);
    packet.set_syn(true);
    packet.set_window_len(1024);
    ip(*source.ip(), *destination.ip(), IpProtocol::Tcp, &segment)
}

/// A datagram.
pub(super) fn udp(source: SocketAddrV4, destination: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let mut datagram = vec![0; 8 + payload.len()];
    datagram[8..].copy_from_slice(payload);
    let length = datagram.len() as u16;
    let mut packet = UdpPacket::new_unchecked(&mut datagram[..]);
    packet.set_src_port(source.port());
    packet.set_dst_port(destination.port());
    packet.set_len(length);
    ip(*source.ip(), *destination.ip(), IpProtocol::Udp, &datagram)
}

/// An echo request.
pub(super) fn echo(source: Ipv4Addr, destination: Ipv4Addr, ident: u16) -> Vec<u8> {
    let [high, low] = ident.to_be_bytes();
    ip(source, destination, IpProtocol::Icmp, &[8, 0, 0, 0, high, low, 0, 1, b'h', b'i'])
}
