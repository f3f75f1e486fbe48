//! Reading the guest's packets: IP headers first, then what they carry. Nothing here trusts a length.
//!
//! TCP and UDP checksums are not verified: the guest's kernel has just computed them (its TUN device has no
//! offload), and no wire lies between it and us. The IPv4 header's is, since it costs nothing.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

/// An IP packet whose header was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpPacket<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    pub(super) payload: &'a [u8],
}

/// Why a packet is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// No IP packet, or one cut short.
    Malformed,
    /// A piece of a larger packet.
    Fragment,
}

/// The packet in these bytes. Bytes behind its end are ignored.
pub(super) fn parse(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable> {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        _ => Err(Unreadable::Malformed),
    }
}

fn parse_v4(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Unreadable::Malformed)?;
    let header = usize::from(packet.header_len());
    let total = usize::from(packet.total_len());
    if header < smoltcp::wire::IPV4_HEADER_LEN || !packet.verify_checksum() {
        return Err(Unreadable::Malformed);
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Err(Unreadable::Fragment);
    }
    Ok(IpPacket {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: bytes.get(header..total).ok_or(Unreadable::Malformed)?,
    })
}

/// Extension headers are not followed: an ordinary program's packets have none, fragments aside.
fn parse_v6(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Unreadable::Malformed)?;
    if packet.next_header() == IpProtocol::Ipv6Frag {
        return Err(Unreadable::Fragment);
    }
    let payload = bytes.get(smoltcp::wire::IPV6_HEADER_LEN..packet.total_len());
    Ok(IpPacket {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        protocol: packet.next_header(),
        payload: payload.ok_or(Unreadable::Malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 20 bytes of header and `payload`.
    fn v4(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 20 + payload.len()];
        bytes[20..].copy_from_slice(payload);
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_total_len(20 + payload.len() as u16);
        packet.set_next_header(IpProtocol::Udp);
        packet.set_src_addr([172, 17, 0, 2].into());
        packet.set_dst_addr([1, 1, 1, 1].into());
        packet.fill_checksum();
        bytes
    }

    #[test]
    fn bytes_behind_the_packets_end_are_not_its_payload() {
        let mut bytes = v4(b"abc");
        bytes.extend_from_slice(b"trailer");
        assert_eq!(parse(&bytes).unwrap().payload, b"abc");
    }

    #[test]
    fn a_header_length_below_the_header_is_malformed() {
        for words in 0..5 {
            let mut bytes = v4(b"abc");
            bytes[0] = 0x40 | words;
            Ipv4Packet::new_unchecked(&mut bytes[..]).fill_checksum();
            assert_eq!(parse(&bytes).unwrap_err(), Unreadable::Malformed);
        }
    }

    #[test]
    fn a_wrong_header_checksum_is_malformed() {
        let mut bytes = v4(b"abc");
        bytes[8] ^= 1;
        assert_eq!(parse(&bytes).unwrap_err(), Unreadable::Malformed);
    }

    #[test]
    fn fragments_are_told_apart_from_garbage() {
        let mut bytes = v4(b"abc");
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        packet.set_more_frags(true);
        packet.fill_checksum();
        assert_eq!(parse(&bytes).unwrap_err(), Unreadable::Fragment);
    }

    #[test]
    fn no_bytes_and_other_versions_are_malformed() {
        for bytes in [&[][..], &[0x50; 40], &[0x45; 10], &[0x60; 39]] {
            assert_eq!(parse(bytes).unwrap_err(), Unreadable::Malformed);
        }
    }
}
