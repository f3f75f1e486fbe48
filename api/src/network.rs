//! The guest's way to the outside: addresses that both sides know, and the frames that carry its IP packets
//! over vsock port 1027. A frame is a big-endian `u16` length, an [`Offload`], and that many bytes of one IP packet.
//!
//! The addresses are those of Docker Desktop's machine, so that what people have written down still fits.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The guest's own address on its TUN device.
pub const GUEST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 65, 3);
/// The gateway, which also answers DNS questions on port 53 (TCP and UDP).
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 65, 1);
/// `host.docker.internal`: connections to it reach the computer's loopback.
pub const HOST_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 65, 254);
/// Length of the network's prefix in bits.
pub const PREFIX_V4: u8 = 24;

/// The guest's own IPv6 address on its TUN device.
pub const GUEST_V6: Ipv6Addr = Ipv6Addr::new(0xfdc4, 0xf303, 0x9324, 0, 0, 0, 0, 3);
/// The gateway's IPv6 address.
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfdc4, 0xf303, 0x9324, 0, 0, 0, 0, 1);
/// `host.docker.internal` over IPv6.
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0xfdc4, 0xf303, 0x9324, 0, 0, 0, 0, 0x254);
/// Length of the IPv6 network's prefix in bits.
pub const PREFIX_V6: u8 = 64;

/// Names that mean [`HOST_V4`] and [`HOST_V6`].
pub const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.holm.internal"];
/// Name that means [`GATEWAY_V4`] and [`GATEWAY_V6`].
pub const GATEWAY_NAME: &str = "gateway.docker.internal";

/// Bytes of the TUN device's largest packet. Far over Ethernet's 1,500, because each packet costs a copy and
/// a wake-up on either side, not a wire.
pub const MTU: usize = 65_000;
/// Bytes of a frame's length.
pub const LENGTH_PREFIX: usize = 2;
/// Bytes of a frame before its packet.
pub const FRAME_HEADER: usize = LENGTH_PREFIX + Offload::BYTES;

/// What a packet's sender leaves to who receives it: `struct virtio_net_hdr` (virtio 1.2, 5.1.6) without its last
/// field, little-endian, as the guest's TUN device reads and writes it. Neither side sums up what the other's memory
/// holds, and one packet carries what would be forty of a small MTU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// `None`: the packet's checksum is there.
    pub checksum: Option<Checksum>,
    /// Bytes of the headers, the transport's included. The kernel keeps those in one piece, and all of the packet
    /// where this is 0.
    pub headers: u16,
    /// `None`: the packet may go as it is.
    pub segments: Option<Segments>,
}

/// A checksum that is left out: its place holds the sum of the pseudo-header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// Where in the packet summing begins.
    pub start: u16,
    /// The sum's place, from there on.
    pub offset: u16,
}

/// A TCP segment that is longer than its connection's may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Bytes of payload in each but the last.
    pub size: u16,
    /// The version of IP.
    pub family: Family,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Offload {
    /// Its length.
    pub const BYTES: usize = 10;
    const NEEDS_CHECKSUM: u8 = 1;
    const SEGMENTS_V4: u8 = 1;
    const SEGMENTS_V6: u8 = 4;

    /// As it stands in a frame.
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        if let Some(Segments { size, family }) = self.segments {
            bytes[1] = match family {
                Family::V4 => Self::SEGMENTS_V4,
                Family::V6 => Self::SEGMENTS_V6,
            };
            bytes[4..6].copy_from_slice(&size.to_le_bytes());
        }
        bytes[2..4].copy_from_slice(&self.headers.to_le_bytes());
        if let Some(Checksum { start, offset }) = self.checksum {
            bytes[0] = Self::NEEDS_CHECKSUM;
            bytes[6..8].copy_from_slice(&start.to_le_bytes());
            bytes[8..10].copy_from_slice(&offset.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_the_specification_has_them() {
        assert_eq!(Offload::default().encode(), [0; 10]);
        let offload = Offload {
            checksum: Some(Checksum { start: 0x0102, offset: 0x0304 }),
            headers: 0x0506,
            segments: Some(Segments { size: 0x0708, family: Family::V6 }),
        };
        assert_eq!(offload.encode(), [1, 4, 6, 5, 8, 7, 2, 1, 4, 3]);
    }
}
