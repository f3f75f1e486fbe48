//! What the guest's kernel does for the gateway: it cuts a packet into its segments and sums each of them up.

use std::net::IpAddr;

use holm_api::network::{FRAME_HEADER, LENGTH_PREFIX};
use smoltcp::wire::{
    IPV4_HEADER_LEN, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
};

use crate::daemon::net::downlink::{Downlink, Payload};
use crate::daemon::net::packet::parse;

/// Places in `struct virtio_net_hdr`.
const GSO_SIZE: usize = LENGTH_PREFIX + 4;
const START: usize = LENGTH_PREFIX + 6;
const OFFSET: usize = LENGTH_PREFIX + 8;

/// The packets that programs in the guest would see of this one.
pub(in crate::daemon::net) fn finish(header: &[u8; FRAME_HEADER], packet: &[u8]) -> Vec<Vec<u8>> {
    let field = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (flags, kind) = (header[LENGTH_PREFIX], header[LENGTH_PREFIX + 1]);
    if flags == 0 {
        assert_eq!(kind, 0, "segments need their checksums");
        return vec![packet.to_vec()];
    }
    let (start, offset) = (field(START), field(OFFSET));
    let mut packets = match kind {
        0 => vec![packet.to_vec()],
        _ => segments(packet, start, field(GSO_SIZE)),
    };
    for packet in &mut packets {
        let sum = fold(packet[start..].chunks(2).map(word).sum());
        packet[start + offset..start + offset + 2].copy_from_slice(&(!sum).to_be_bytes());
    }
    packets
}

/// Cuts the payload, and gives each piece the headers that are its own.
fn segments(packet: &[u8], start: usize, size: usize) -> Vec<Vec<u8>> {
    let tcp = TcpPacket::new_checked(&packet[start..]).unwrap();
    let (header, sum, seq) = (usize::from(tcp.header_len()), tcp.checksum(), tcp.seq_number());
    let whole = packet.len() - start;
    assert!(whole - header > size, "one segment is none to be cut");
    let pieces: Vec<_> = packet[start + header..].chunks(size).collect();
    let mut segments = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let mut bytes = [&packet[..start + header], piece].concat();
        let length = header + piece.len();
        if start == IPV4_HEADER_LEN {
            let mut ip = Ipv4Packet::new_unchecked(&mut bytes[..]);
            ip.set_total_len((start + length) as u16);
            ip.fill_checksum();
        } else {
            Ipv6Packet::new_unchecked(&mut bytes[..]).set_payload_len(length as u16);
        }
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[start..]);
        tcp.set_seq_number(seq + number * size);
        tcp.set_fin(tcp.fin() && number + 1 == pieces.len());
        // The pseudo-header has the length in it.
        tcp.set_checksum(fold(u32::from(sum) + u32::from(!(whole as u16)) + length as u32));
        segments.push(bytes);
    }
    segments
}

fn word(bytes: &[u8]) -> u32 {
    u32::from(u16::from_be_bytes([bytes[0], *bytes.get(1).unwrap_or(&0)]))
}

fn fold(sum: u32) -> u16 {
    let folded = (sum >> 16) + (sum & 0xffff);
    ((folded >> 16) + folded) as u16
}

#[test]
fn its_sums_are_those_of_another_stack() {
    for (source, target) in [("10.1.2.3", "172.17.0.2"), ("fd00:1::7", "fd00::2")] {
        let (source, target): (IpAddr, IpAddr) = (source.parse().unwrap(), target.parse().unwrap());
        let (from, to) = (source.into(), target.into());
        let repr = TcpRepr {
            src_port: 80,
            dst_port: 4000,
            control: TcpControl::Fin,
            seq_number: TcpSeqNumber(i32::MAX - 1500),
            ack_number: Some(TcpSeqNumber(7)),
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let mut downlink = Downlink::new();
        let payload = Payload { length: 2501, segment: 1000 };
        assert!(downlink.tcp_with(source, target, &repr, payload, |bytes| bytes.fill(0xa7)));
        assert!(downlink.udp((source, 53).into(), (target, 4000).into(), b"odd"));
        let packets = downlink.take();
        let packets: Vec<_> = packets.iter().map(|bytes| parse(bytes).unwrap()).collect();
        let tcp: Vec<_> = packets[..3]
            .iter()
            .map(|packet| {
                let tcp = TcpPacket::new_checked(packet.payload).unwrap();
                assert!(tcp.verify_checksum(&from, &to));
                (tcp.seq_number() - repr.seq_number, tcp.payload().len(), tcp.fin())
            })
            .collect();
        assert_eq!(tcp, [(0, 1000, false), (1000, 1000, false), (2000, 501, true)]);
        assert!(UdpPacket::new_checked(packets[3].payload).unwrap().verify_checksum(&from, &to));
        assert_eq!(packets.len(), 4);
    }
}
