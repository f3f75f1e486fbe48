//! ICMP and ICMPv6 messages to the guest (RFC 792, RFC 4443): "unreachable" in the words of the host's own
//! error, so that a program in a container fails as fast and for the same reason as one on the host; "time exceeded",
//! so that `traceroute` sees the gateway; and echo.

use std::io;
use std::net::{IpAddr, SocketAddr};

use holm_api::network::{GATEWAY_V4, GATEWAY_V6};
use smoltcp::wire::{
    IPV4_HEADER_LEN, IPV6_HEADER_LEN, Icmpv4Message, Icmpv4Packet, Icmpv6Message, Icmpv6Packet, IpAddress,
    IpProtocol, Ipv4Packet, Ipv6Address, Ipv6Packet,
};

use super::downlink::Downlink;
use super::packet::IpPacket;

/// Bytes of an ICMP header, echo's identifier and sequence number included.
pub(super) const HEADER: usize = 8;
/// Bytes of the refused packet's payload that are sent back: ports, and TCP's sequence number.
const QUOTED: usize = 8;
/// The code of an unreachable destination that only a smaller packet would reach (RFC 1191).
const FRAGMENTATION_NEEDED: u8 = 4;
/// Bytes of the packet that every host takes (RFC 791), and that every link passes (RFC 8200).
const LEAST_V4: usize = 576;
const LEAST_V6: usize = 1280;

/// Why something cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreachable {
    Network,
    Host,
    Port,
    /// A filter on the host or on the way forbids it.
    Prohibited,
}

impl Unreachable {
    /// The code of RFC 1122's destination unreachable.
    fn code_v4(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Host => 1,
            Self::Port => 3,
            Self::Prohibited => 13,
        }
    }

    /// The code of RFC 4443's destination unreachable.
    fn code_v6(self) -> u8 {
        match self {
            Self::Network => 0,
            Self::Prohibited => 1,
            Self::Host => 3,
            Self::Port => 4,
        }
    }
}

/// What the guest is to be told of an error of the host's connect or send; `None`: nothing, which is what a
/// router that is short of something, or that waits for an answer, does.
pub(super) fn unreachable(error: &io::Error) -> Option<Unreachable> {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(Unreachable::Port),
        io::ErrorKind::HostUnreachable => Some(Unreachable::Host),
        // A host without IPv6 has no source address for it: the same to the guest as no route.
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported => {
            Some(Unreachable::Network)
        }
        io::ErrorKind::PermissionDenied => Some(Unreachable::Prohibited),
        _ => None,
    }
}

/// A packet of the guest's, as far as an ICMP error repeats it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quote {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: IpProtocol,
    /// Its payload's first bytes.
    pub(super) start: [u8; QUOTED],
}

impl Quote {
    /// The quote of a TCP segment or datagram with these ports. `rest` is what follows them: TCP's sequence
    /// number (which the guest's kernel compares), UDP's length and checksum (which it does not).
    pub(super) fn new(guest: SocketAddr, far: SocketAddr, protocol: IpProtocol, rest: u32) -> Self {
        let mut start = [0; QUOTED];
        start[..2].copy_from_slice(&guest.port().to_be_bytes());
        start[2..4].copy_from_slice(&far.port().to_be_bytes());
        start[4..].copy_from_slice(&rest.to_be_bytes());
        Self { source: guest.ip(), destination: far.ip(), protocol, start }
    }
}

/// Tells the guest that what it sent cannot be delivered. It comes from the address it was sent to, for the
/// gateway cannot know which router on the way refused.
pub(super) fn send_unreachable(downlink: &mut Downlink, quote: &Quote, why: Unreachable) {
    let message = Message {
        from: quote.destination,
        v4: (Icmpv4Message::DstUnreachable, why.code_v4()),
        v6: (Icmpv6Message::DstUnreachable, why.code_v6()),
    };
    send_error(downlink, quote, &message);
}

/// Tells the guest, in the gateway's name, that a packet's hops were used up here. An error is not answered with
/// another one (RFC 1122, 3.2.2), and what is cut short by its sender cannot be told apart by it.
pub(super) fn answer_expired(downlink: &mut Downlink, packet: &IpPacket<'_>) {
    let (source, destination, protocol) = (packet.source, packet.destination, packet.protocol);
    let v4 = source.is_ipv4();
    let is_error = matches!(protocol, IpProtocol::Icmp | IpProtocol::Icmpv6)
        && parse_echo(packet.payload, v4, Kind::Request).is_none();
    if let Some(start) = packet.payload.first_chunk()
        && !is_error
    {
        let message = Message {
            from: if v4 { GATEWAY_V4.into() } else { GATEWAY_V6.into() },
            v4: (Icmpv4Message::TimeExceeded, 0),
            v6: (Icmpv6Message::TimeExceeded, 0),
        };
        send_error(downlink, &Quote { source, destination, protocol, start: *start }, &message);
    }
}

/// An error: who says it, its type and its code.
struct Message {
    from: IpAddr,
    v4: (Icmpv4Message, u8),
    v6: (Icmpv6Message, u8),
}

fn send_error(downlink: &mut Downlink, quote: &Quote, message: &Message) {
    let (from, to) = (message.from, quote.source);
    match (quote.source, quote.destination, from) {
        (IpAddr::V4(source), IpAddr::V4(destination), _) => {
            downlink.icmp(from, to, HEADER + IPV4_HEADER_LEN + QUOTED, |bytes| {
                bytes.fill(0);
                let mut inner = Ipv4Packet::new_unchecked(&mut bytes[HEADER..]);
                inner.set_version(4);
                inner.set_header_len(IPV4_HEADER_LEN as u8);
                inner.set_total_len((IPV4_HEADER_LEN + QUOTED) as u16);
                inner.set_hop_limit(1);
                inner.set_next_header(quote.protocol);
                inner.set_src_addr(source);
                inner.set_dst_addr(destination);
                inner.fill_checksum();
                bytes[HEADER + IPV4_HEADER_LEN..].copy_from_slice(&quote.start);
                let mut packet = Icmpv4Packet::new_unchecked(bytes);
                packet.set_msg_type(message.v4.0);
                packet.set_msg_code(message.v4.1);
                packet.fill_checksum();
            });
        }
        (IpAddr::V6(source), IpAddr::V6(destination), IpAddr::V6(sender)) => {
            downlink.icmp(from, to, HEADER + IPV6_HEADER_LEN + QUOTED, |bytes| {
                bytes.fill(0);
                let mut inner = Ipv6Packet::new_unchecked(&mut bytes[HEADER..]);
                inner.set_version(6);
                inner.set_payload_len(QUOTED as u16);
                inner.set_hop_limit(1);
                inner.set_next_header(quote.protocol);
                inner.set_src_addr(source);
                inner.set_dst_addr(destination);
                bytes[HEADER + IPV6_HEADER_LEN..].copy_from_slice(&quote.start);
                let mut packet = Icmpv6Packet::new_unchecked(bytes);
                packet.set_msg_type(message.v6.0);
                packet.set_msg_code(message.v6.1);
                packet.fill_checksum(&sender, &source);
            });
        }
        _ => {}
    }
}

/// What the guest says of a TCP segment that it cannot deliver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Undelivered {
    /// Whom it was for.
    pub(super) guest: SocketAddr,
    /// In whose name it was sent.
    pub(super) far: SocketAddr,
    /// Its sequence number.
    pub(super) seq: u32,
    pub(super) why: Obstacle,
}

/// What was in its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Nobody is there.
    Unreachable,
    /// It is longer than what passes there: so many bytes with all headers.
    TooLong(usize),
}

/// What an ICMP message (`v4`) or an ICMPv6 one says of a TCP segment; `None` for any other message.
pub(super) fn parse_undelivered(bytes: &[u8], v4: bool) -> Option<Undelivered> {
    let (header, quoted) = bytes.split_first_chunk::<HEADER>()?;
    let (source, destination, segment, why): (IpAddr, IpAddr, _, _) = if v4 {
        let packet = Ipv4Packet::new_unchecked(quoted.get(..IPV4_HEADER_LEN)?);
        if header[0] != u8::from(Icmpv4Message::DstUnreachable) || packet.next_header() != IpProtocol::Tcp {
            return None;
        }
        let why = match header[1] {
            FRAGMENTATION_NEEDED => {
                // Routers older than RFC 1191 do not say how much passes: what every host must take does.
                let passes = usize::from(u16::from_be_bytes([header[6], header[7]]));
                Obstacle::TooLong(if passes == 0 { LEAST_V4 } else { passes })
            }
            _ => Obstacle::Unreachable,
        };
        let segment = quoted.get(usize::from(packet.header_len())..)?;
        (packet.src_addr().into(), packet.dst_addr().into(), segment, why)
    } else {
        let packet = Ipv6Packet::new_unchecked(quoted.get(..IPV6_HEADER_LEN)?);
        let why = if header[0] == u8::from(Icmpv6Message::PktTooBig) {
            let passes = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
            Obstacle::TooLong(usize::try_from(passes).ok()?.max(LEAST_V6))
        } else if header[0] == u8::from(Icmpv6Message::DstUnreachable) {
            Obstacle::Unreachable
        } else {
            return None;
        };
        if packet.next_header() != IpProtocol::Tcp {
            return None;
        }
        (packet.src_addr().into(), packet.dst_addr().into(), &quoted[IPV6_HEADER_LEN..], why)
    };
    let [from_high, from_low, to_high, to_low, seq @ ..] = *segment.first_chunk::<QUOTED>()?;
    let far = SocketAddr::new(source, u16::from_be_bytes([from_high, from_low]));
    let guest = SocketAddr::new(destination, u16::from_be_bytes([to_high, to_low]));
    Some(Undelivered { guest, far, seq: u32::from_be_bytes(seq), why })
}

/// The protocol of ICMP messages to and from `address`.
pub(super) fn protocol(address: IpAddr) -> IpProtocol {
    if address.is_ipv4() { IpProtocol::Icmp } else { IpProtocol::Icmpv6 }
}

/// An echo request or reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo<'a> {
    pub(super) ident: u16,
    pub(super) sequence: u16,
    pub(super) data: &'a [u8],
}

/// The direction of an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Reply,
}

/// The echo in an ICMP message (`v4`) or an ICMPv6 one; `None` for any other message.
pub(super) fn parse_echo(bytes: &[u8], v4: bool, kind: Kind) -> Option<Echo<'_>> {
    let wanted: u8 = echo_type(v4, kind);
    let (header, data) = bytes.split_first_chunk::<HEADER>()?;
    (header[0] == wanted && header[1] == 0).then(|| Echo {
        ident: u16::from_be_bytes([header[4], header[5]]),
        sequence: u16::from_be_bytes([header[6], header[7]]),
        data,
    })
}

fn echo_type(v4: bool, kind: Kind) -> u8 {
    match (v4, kind) {
        (true, Kind::Request) => Icmpv4Message::EchoRequest.into(),
        (true, Kind::Reply) => Icmpv4Message::EchoReply.into(),
        (false, Kind::Request) => Icmpv6Message::EchoRequest.into(),
        (false, Kind::Reply) => Icmpv6Message::EchoReply.into(),
    }
}

/// Writes an echo into `bytes`, which are [`HEADER`] and the data long. `ends`: source and destination, which
/// ICMPv6's checksum covers.
pub(super) fn write_echo(bytes: &mut [u8], kind: Kind, echo: Echo<'_>, ends: (IpAddr, IpAddr)) {
    bytes[..HEADER].fill(0);
    bytes[0] = echo_type(ends.0.is_ipv4(), kind);
    bytes[4..6].copy_from_slice(&echo.ident.to_be_bytes());
    bytes[6..8].copy_from_slice(&echo.sequence.to_be_bytes());
    bytes[HEADER..].copy_from_slice(echo.data);
    match (ends.0.into(), ends.1.into()) {
        (IpAddress::Ipv6(source), IpAddress::Ipv6(destination)) => fill_v6(bytes, source, destination),
        _ => Icmpv4Packet::new_unchecked(bytes).fill_checksum(),
    }
}

fn fill_v6(bytes: &mut [u8], source: Ipv6Address, destination: Ipv6Address) {
    Icmpv6Packet::new_unchecked(bytes).fill_checksum(&source, &destination);
}

/// Sends an echo reply to the guest.
pub(super) fn send_reply(downlink: &mut Downlink, from: IpAddr, to: IpAddr, echo: Echo<'_>) -> bool {
    downlink.icmp(from, to, HEADER + echo.data.len(), |bytes| {
        write_echo(bytes, Kind::Reply, echo, (from, to));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_reads_back_as_it_was_written() {
        for (source, destination) in [("10.0.0.1", "1.1.1.1"), ("fd00::1", "2606:4700::1111")] {
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            let v4 = IpAddr::is_ipv4(&ends.0);
            let echo = Echo { ident: 7, sequence: 9, data: b"payload" };
            let mut bytes = [0xff; HEADER + 7];
            write_echo(&mut bytes, Kind::Request, echo, ends);
            assert_eq!(parse_echo(&bytes, v4, Kind::Request), Some(echo));
            assert_eq!(parse_echo(&bytes, v4, Kind::Reply), None);
            assert_eq!(parse_echo(&bytes[..7], v4, Kind::Request), None);
        }
    }

    #[test]
    fn the_hosts_errors_keep_their_meaning() {
        let of = |kind: io::ErrorKind| unreachable(&kind.into());
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Some(Unreachable::Port));
        assert_eq!(of(io::ErrorKind::HostUnreachable), Some(Unreachable::Host));
        assert_eq!(of(io::ErrorKind::NetworkUnreachable), Some(Unreachable::Network));
        assert_eq!(of(io::ErrorKind::TimedOut), None);
    }

    #[test]
    fn what_the_guest_cannot_deliver_is_read_from_its_words() {
        let ends = [0, 80, 0x0f, 0xa0, 1, 2, 3, 4];
        let mut inner = vec![0; 20];
        let mut packet = Ipv4Packet::new_unchecked(&mut inner[..]);
        packet.set_version(4);
        packet.set_header_len(20);
        packet.set_next_header(IpProtocol::Tcp);
        packet.set_src_addr([10, 0, 0, 1].into());
        packet.set_dst_addr([172, 17, 0, 2].into());
        inner.extend(ends);
        let of = |header: [u8; 8]| parse_undelivered(&[&header[..], &inner].concat(), true);
        let told = of([3, 4, 0, 0, 0, 0, 5, 0xdc]).unwrap();
        assert_eq!(
            (told.far, told.guest),
            ("10.0.0.1:80".parse().unwrap(), "172.17.0.2:4000".parse().unwrap())
        );
        assert_eq!((told.seq, told.why), (0x0102_0304, Obstacle::TooLong(1500)));
        assert_eq!(of([3, 4, 0, 0, 0, 0, 0, 0]).unwrap().why, Obstacle::TooLong(LEAST_V4));
        assert_eq!(of([3, 1, 0, 0, 0, 0, 0, 0]).unwrap().why, Obstacle::Unreachable);
        assert_eq!(of([8, 0, 0, 0, 0, 0, 0, 0]), None);
        let mut inner = vec![0; 40];
        let mut packet = Ipv6Packet::new_unchecked(&mut inner[..]);
        packet.set_version(6);
        packet.set_next_header(IpProtocol::Tcp);
        inner.extend(ends);
        let of = |header: [u8; 8]| parse_undelivered(&[&header[..], &inner].concat(), false).unwrap().why;
        assert_eq!(of([2, 0, 0, 0, 0, 0, 5, 0xdc]), Obstacle::TooLong(1500));
        assert_eq!(of([2, 0, 0, 0, 0, 0, 0, 68]), Obstacle::TooLong(LEAST_V6));
        assert_eq!(of([1, 3, 0, 0, 0, 0, 0, 0]), Obstacle::Unreachable);
    }
}
