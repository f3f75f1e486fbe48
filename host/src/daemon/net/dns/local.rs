//! Names that mean the same on every host, and what the host's own loopback is called inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hickory_resolver::proto::rr::Name;
use holm_api::network::{GATEWAY_NAME, GATEWAY_V4, GATEWAY_V6, HOST_NAMES, HOST_V4, HOST_V6};

/// The addresses of a name that is answered here; `None`: ask others.
pub(super) fn lookup(name: &Name) -> Option<[IpAddr; 2]> {
    let name = name.to_ascii().to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    if HOST_NAMES.contains(&name) {
        Some([HOST_V4.into(), HOST_V6.into()])
    } else if name == GATEWAY_NAME {
        Some([GATEWAY_V4.into(), GATEWAY_V6.into()])
    } else if name == "localhost" || name.ends_with(".localhost") {
        // RFC 6761, 6.3: whoever asks means itself, never the host.
        Some([Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()])
    } else {
        None
    }
}

/// Whether only multicast DNS can answer (RFC 6762, 3).
pub(super) fn is_multicast_dns(name: &Name) -> bool {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase().ends_with(".local")
}

/// An address of the host's hosts file as a guest has to see it: the host's loopback has another address there.
pub(super) fn seen_from_guest(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) if v4.is_loopback() => HOST_V4.into(),
        IpAddr::V6(v6) if v6.is_loopback() => HOST_V6.into(),
        other => other,
    }
}
