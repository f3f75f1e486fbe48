//! Who may be dialled. A guest chooses any destination address it likes; this decides, without looking at the
//! host's state, what that address means: the gateway itself, the computer's loopback by its one public name,
//! somewhere outside, or nothing. No address but `HOST_V4`/`HOST_V6` reaches the host's loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use holm_api::network::{GATEWAY_V4, GATEWAY_V6, HOST_V4, HOST_V6, PREFIX_V4, PREFIX_V6};

/// What a destination address means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// The gateway's own address: echo and DNS are answered here, nothing else is.
    Gateway,
    /// The computer's loopback, by the name `host.docker.internal`.
    Host,
    /// A host on some network, dialled as it is.
    Outside(IpAddr),
    /// An address of the guest's own network that nobody has: "host unreachable".
    Nobody,
    /// Loopback, unspecified, multicast, broadcast and the disguises of these: refused.
    Forbidden,
}

/// The loopback addresses that `Route::Host` stands for, in the order in which they are tried: most programs
/// listen on 127.0.0.1 only, some (Node's `localhost`, for one) on ::1 only.
pub(super) const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// What `destination` means.
pub(super) fn route(destination: IpAddr) -> Route {
    match destination {
        IpAddr::V4(GATEWAY_V4) | IpAddr::V6(GATEWAY_V6) => Route::Gateway,
        IpAddr::V4(HOST_V4) | IpAddr::V6(HOST_V6) => Route::Host,
        IpAddr::V4(address) => route_v4(address),
        IpAddr::V6(address) => route_v6(address),
    }
}

fn route_v4(address: Ipv4Addr) -> Route {
    if forbidden_v4(address) {
        Route::Forbidden
    } else if same_prefix(address.to_bits().into(), GATEWAY_V4.to_bits().into(), 32 - PREFIX_V4) {
        Route::Nobody
    } else {
        Route::Outside(address.into())
    }
}

/// All of 0.0.0.0/8, not only 0.0.0.0 itself, which Linux and macOS connect to their own loopback.
fn forbidden_v4(address: Ipv4Addr) -> bool {
    address.octets()[0] == 0 || address.is_loopback() || address.is_multicast() || address.octets()[0] >= 240
}

/// Whether an address is somebody's.
pub(super) fn is_unicast_v4(address: Ipv4Addr) -> bool {
    !forbidden_v4(address)
}

fn route_v6(address: Ipv6Addr) -> Route {
    let disguised = embedded_v4(address).is_some_and(forbidden_v4);
    // Mapped addresses are an affair of socket calls and never right on the wire, whatever they hold. A
    // link-local address means nothing without the interface, which a guest cannot know.
    let never_routed = address.to_ipv4_mapped().is_some() || address.is_unicast_link_local();
    if address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || disguised
        || never_routed
    {
        Route::Forbidden
    } else if same_prefix(address.to_bits(), GATEWAY_V6.to_bits(), 128 - PREFIX_V6) {
        Route::Nobody
    } else {
        Route::Outside(address.into())
    }
}

/// The IPv4 address that translators on the way (SIIT, IPv4-compatible, NAT64, 6to4) would take this for.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let high = bits >> 32;
    // ::a.b.c.d, ::ffff:a.b.c.d, ::ffff:0:a.b.c.d and 64:ff9b::a.b.c.d
    let in_low = matches!(high, 0 | 0xffff | 0xffff_0000) || high == 0x0064_ff9b_u128 << 64;
    if in_low {
        Some(Ipv4Addr::from_bits(bits as u32))
    } else if bits >> 112 == 0x2002 {
        Some(Ipv4Addr::from_bits((bits >> 80) as u32))
    } else {
        None
    }
}

fn same_prefix(left: u128, right: u128, host_bits: u8) -> bool {
    left >> host_bits == right >> host_bits
}

/// Whether a packet may come from `source`. Any container's address may; what is no one's address may not,
/// since an answer to it could only go astray.
pub(super) fn acceptable_source(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(address) => !forbidden_v4(address),
        IpAddr::V6(address) => {
            !(address.is_unspecified() || address.is_loopback() || address.is_multicast())
                && address.to_ipv4_mapped().is_none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Route {
        route(text.parse().unwrap())
    }

    #[test]
    fn the_host_has_one_address_of_each_kind() {
        assert_eq!(of("192.168.65.254"), Route::Host);
        assert_eq!(of("fdc4:f303:9324::254"), Route::Host);
    }

    #[test]
    fn the_gateway_is_itself() {
        assert_eq!(of("192.168.65.1"), Route::Gateway);
        assert_eq!(of("fdc4:f303:9324::1"), Route::Gateway);
    }

    #[test]
    fn no_spelling_of_loopback_is_dialled() {
        for text in [
            "127.0.0.1",
            "127.255.255.254",
            "127.0.0.53",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:0.0.0.0",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "2002:7f00:1::1",
            "2002:0:0::1",
        ] {
            assert_eq!(of(text), Route::Forbidden, "{text}");
        }
    }

    #[test]
    fn multicast_broadcast_and_reserved_are_not_dialled() {
        for text in ["224.0.0.251", "239.255.255.250", "240.0.0.1", "255.255.255.255", "ff02::1", "fe80::1"] {
            assert_eq!(of(text), Route::Forbidden, "{text}");
        }
    }

    #[test]
    fn a_mapped_address_is_refused_even_where_the_inner_one_is_fine() {
        assert_eq!(of("::ffff:93.184.216.34"), Route::Forbidden);
    }

    #[test]
    fn the_rest_of_the_guests_own_network_is_empty() {
        for text in ["192.168.65.0", "192.168.65.3", "192.168.65.255", "fdc4:f303:9324::7"] {
            assert_eq!(of(text), Route::Nobody, "{text}");
        }
    }

    #[test]
    fn everything_else_is_outside() {
        for text in [
            "1.1.1.1",
            "10.0.0.1",
            "172.17.0.5",
            "169.254.169.254",
            "192.168.64.254",
            "192.168.66.1",
            "2606:4700::1111",
            "64:ff9b::93.184.216.34",
            "2002:5db8:d822::1",
            "fdc4:f303:9325::254",
        ] {
            assert_eq!(of(text), Route::Outside(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn containers_may_speak_under_their_own_addresses() {
        for text in ["172.17.0.2", "10.89.0.7", "192.168.65.3", "fd00::5", "fe80::1"] {
            assert!(acceptable_source(text.parse().unwrap()), "{text}");
        }
        for text in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"] {
            assert!(!acceptable_source(text.parse().unwrap()), "{text}");
        }
    }
}
