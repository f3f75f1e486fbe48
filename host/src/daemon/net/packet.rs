//! Reading the guest's packets: IP headers first, then what they carry. Nothing here trusts a length.
//!
//! TCP and UDP checksums are not verified: the guest's kernel leaves them out, and no wire lies between it and us. The
//! IPv4 header's is, since it costs nothing.

use std::net::IpAddr;

use smoltcp::wire::{IpProtocol, Ipv4Packet, Ipv6Packet};

use super::fragments::Whole;

/// An IP packet whose header was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct IpPacket<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    /// Routers that it may pass yet, this one included.
    pub(super) hop_limit: u8,
    pub(super) payload: &'a [u8],
}

/// A piece of a larger packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment<'a> {
    /// Of which one.
    pub(super) whole: Whole,
    /// Where it stands in that one's payload.
    pub(super) offset: usize,
    pub(super) hop_limit: u8,
    pub(super) payload: &'a [u8],
    /// It is not the last.
    pub(super) more: bool,
}

/// Why a packet is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable<'a> {
    /// No IP packet, or one cut short.
    Malformed,
    /// Not before the others have come.
    Fragment(Fragment<'a>),
}

/// The packet in these bytes. Bytes behind its end are ignored.
pub(super) fn parse(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable<'_>> {
    match bytes.first().map(|byte| byte >> 4) {
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        _ => Err(Unreadable::Malformed),
    }
}

fn parse_v4(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable<'_>> {
    let packet = Ipv4Packet::new_checked(bytes).map_err(|_| Unreadable::Malformed)?;
    let header = usize::from(packet.header_len());
    let total = usize::from(packet.total_len());
    if header < smoltcp::wire::IPV4_HEADER_LEN || !packet.verify_checksum() {
        return Err(Unreadable::Malformed);
    }
    let (source, destination, protocol) =
        (packet.src_addr().into(), packet.dst_addr().into(), packet.next_header());
    let hop_limit = packet.hop_limit();
    let payload = bytes.get(header..total).ok_or(Unreadable::Malformed)?;
    let (offset, more) = (usize::from(packet.frag_offset()), packet.more_frags());
    if more || offset != 0 {
        let whole = Whole { source, destination, protocol, ident: packet.ident().into() };
        return Err(Unreadable::Fragment(Fragment { whole, offset, hop_limit, payload, more }));
    }
    Ok(IpPacket { source, destination, protocol, hop_limit, payload })
}

/// Extension headers are not followed: an ordinary program's packets have none, fragments aside.
fn parse_v6(bytes: &[u8]) -> Result<IpPacket<'_>, Unreadable<'_>> {
    let packet = Ipv6Packet::new_checked(bytes).map_err(|_| Unreadable::Malformed)?;
    let payload = bytes.get(smoltcp::wire::IPV6_HEADER_LEN..packet.total_len());
    let payload = payload.ok_or(Unreadable::Malformed)?;
    let (source, destination) = (packet.src_addr().into(), packet.dst_addr().into());
    if packet.next_header() == IpProtocol::Ipv6Frag {
        return Err(fragment_v6(source, destination, packet.hop_limit(), payload));
    }
    let (protocol, hop_limit) = (packet.next_header(), packet.hop_limit());
    Ok(IpPacket { source, destination, protocol, hop_limit, payload })
}

/// RFC 8200, 4.5: next header, reserved, offset and flags, identification.
fn fragment_v6(source: IpAddr, destination: IpAddr, hop_limit: u8, payload: &[u8]) -> Unreadable<'_> {
    let Some(([next, _, high, low, ident @ ..], payload)) = payload.split_first_chunk::<8>() else {
        return Unreadable::Malformed;
    };
    let place = u16::from_be_bytes([*high, *low]);
    let whole = Whole { source, destination, protocol: (*next).into(), ident: u32::from_be_bytes(*ident) };
    let (offset, more) = ((place & !7).into(), place & 1 == 1);
    Unreadable::Fragment(Fragment { whole, offset, hop_limit, payload, more })
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
        assert!(matches!(parse(&bytes).unwrap_err(), Unreadable::Fragment(piece) if piece.more));
    }

    #[test]
    fn an_ipv6_fragment_says_where_it_stands() {
        let mut bytes = vec![0; 40];
        let mut packet = Ipv6Packet::new_unchecked(&mut bytes[..]);
        packet.set_version(6);
        packet.set_payload_len(11);
        packet.set_next_header(IpProtocol::Ipv6Frag);
        bytes.extend_from_slice(&[17, 0, 0x05, 0xa9, 0, 0, 0, 7, 1, 2, 3]);
        let Err(Unreadable::Fragment(piece)) = parse(&bytes) else { panic!("no fragment") };
        assert_eq!((piece.offset, piece.more, piece.payload), (1448, true, &[1, 2, 3][..]));
        assert_eq!((piece.whole.protocol, piece.whole.ident), (IpProtocol::Udp, 7));
        assert_eq!(
            parse(&[&bytes[..4], &[0, 7], &bytes[6..47]].concat()).unwrap_err(),
            Unreadable::Malformed
        );
    }

    #[test]
    fn no_bytes_and_other_versions_are_malformed() {
        for bytes in [&[][..], &[0x50; 40], &[0x45; 10], &[0x60; 39]] {
            assert_eq!(parse(bytes).unwrap_err(), Unreadable::Malformed);
        }
    }
}
