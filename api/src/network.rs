//! The guest's way to the outside: addresses that both sides know, and the frames that carry its IP packets
//! over vsock port 1027. A frame is a big-endian `u16` length and that many bytes of one IP packet.
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
/// Bytes of a frame's header.
pub const FRAME_HEADER: usize = 2;
