//! Where this computer sends packets.

use std::net::Ipv4Addr;

use ipnet::Ipv6Net;

/// IPv4 networks that this computer has a route to. Windows has no file that says so, and nobody has asked its
/// library yet.
pub(crate) fn routes() -> Option<Vec<(Ipv4Addr, u32, String)>> {
    None
}

/// Likewise of IPv6.
pub(crate) fn routes_v6() -> Option<Vec<Ipv6Net>> {
    None
}
