//! Subnets for networks that name none: Docker's default pools, less what is taken and what the computer routes
//! elsewhere. A VPN in 172.16.0.0/12 must not become unreachable because a network was made.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// `docker0`'s, unless something is in its way.
pub(crate) const DEFAULT_BRIDGE: &str = "172.17.0.0/16";
/// Docker's pools (`ipamutils.localScopeDefaultNetworks`), and how long the prefix of a subnet out of them is.
const POOLS: [(&str, u8); 7] = [
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
];
/// Prefix of an IPv6 subnet.
const PREFIX_V6: u8 = 64;

/// The first IPv4 subnet that overlaps none of these.
pub(crate) fn free_v4<'a>(taken: impl Iterator<Item = &'a IpNet> + Clone) -> Option<IpNet> {
    POOLS.iter().find_map(|(pool, prefix)| {
        let pool: Ipv4Net = pool.parse().expect("a constant that a test reads");
        let mut subnets = pool.subnets(*prefix).expect("as above");
        subnets.find(|subnet| is_free(IpNet::V4(*subnet), taken.clone())).map(IpNet::V4)
    })
}

/// The first IPv6 subnet of this machine that overlaps none of these: a Unique Local one (RFC 4193), whose 40 bits of
/// global id come from the machine's own random id.
pub(crate) fn free_v6<'a>(machine: [u8; 5], taken: impl Iterator<Item = &'a IpNet> + Clone) -> Option<IpNet> {
    let [a, b, c, d, e] = machine;
    let global = u128::from_be_bytes([0xfd, a, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    (0..=u16::MAX).find_map(|subnet| {
        let network = Ipv6Addr::from_bits(global | u128::from(subnet) << 64);
        let net = IpNet::V6(Ipv6Net::new(network, PREFIX_V6).expect("64 is at most 128"));
        is_free(net, taken.clone()).then_some(net)
    })
}

/// Whether no other has a part of it.
pub(crate) fn is_free<'a>(net: IpNet, mut taken: impl Iterator<Item = &'a IpNet>) -> bool {
    !taken.any(|other| overlap(&net, other))
}

/// Whether two have an address in common.
pub(crate) fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn v4(taken: &[&str]) -> Option<String> {
        free_v4(nets(taken).iter()).map(|net| net.to_string())
    }

    #[test]
    fn networks_are_numbered_as_dockers_are() {
        assert_eq!(v4(&[]).unwrap(), DEFAULT_BRIDGE);
        assert_eq!(v4(&["172.17.0.0/16"]).unwrap(), "172.18.0.0/16");
        assert_eq!(v4(&["172.16.0.0/12"]).unwrap(), "192.168.0.0/20");
    }

    #[test]
    fn what_the_computer_routes_elsewhere_is_passed_over_however_large_or_small() {
        assert_eq!(v4(&["172.17.3.4/32", "172.18.0.0/15"]).unwrap(), "172.20.0.0/16");
        assert_eq!(v4(&["172.16.0.0/12", "192.168.65.0/24", "192.168.0.0/18"]).unwrap(), "192.168.80.0/20");
        assert_eq!(v4(&["172.16.0.0/12", "192.168.0.0/16"]), None);
        assert_eq!(v4(&["fd00::/8"]).unwrap(), DEFAULT_BRIDGE);
    }

    #[test]
    fn ipv6_subnets_are_the_machines_own() {
        let first = free_v6([1, 2, 3, 4, 5], [].iter()).unwrap();
        assert_eq!(first.to_string(), "fd01:203:405::/64");
        let second = free_v6([1, 2, 3, 4, 5], [first].iter()).unwrap();
        assert_eq!(second.to_string(), "fd01:203:405:1::/64");
    }
}
