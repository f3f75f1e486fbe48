//! Where this computer sends packets.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

/// The kernel's table of IPv4 routes; only Linux has it as a file.
const TABLE: &str = "/proc/net/route";
/// Likewise of IPv6.
const TABLE_V6: &str = "/proc/net/ipv6_route";

/// IPv4 networks that this computer has a route to, but for the route to everywhere, each with its interface;
/// `None` where the system does not say.
pub(crate) fn routes() -> Option<Vec<(Ipv4Addr, u32, String)>> {
    std::fs::read_to_string(TABLE).ok().map(|table| parse(&table))
}

fn parse(table: &str) -> Vec<(Ipv4Addr, u32, String)> {
    // Addresses are words of the processor's order in hexadecimal.
    let address =
        |text: &str| u32::from_str_radix(text, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()));
    let lines = table.lines().skip(1);
    let routes = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (network, mask) = (address(fields.get(1)?)?, address(fields.get(7)?)?);
        Some((network, mask.to_bits().count_ones(), (*fields.first()?).to_owned()))
    });
    routes.filter(|(_, bits, _)| *bits > 0).collect()
}

/// IPv6 networks that this computer has a route to, but for the route to everywhere and what every interface has;
/// `None` where the system does not say, or has no IPv6.
pub(crate) fn routes_v6() -> Option<Vec<Ipv6Net>> {
    let table = std::fs::read_to_string(TABLE_V6).ok()?;
    Some(table.lines().filter_map(parse_v6).collect())
}

/// `fd000000000000000000000000000000 40 … eth0`: destination and its prefix in hexadecimal, the interface last.
fn parse_v6(line: &str) -> Option<Ipv6Net> {
    let mut fields = line.split_whitespace();
    let address = Ipv6Addr::from(u128::from_str_radix(fields.next()?, 16).ok()?);
    let net = Ipv6Net::new(address, u8::from_str_radix(fields.next()?, 16).ok()?).ok()?;
    let everywhere = address.is_multicast() || address.is_unicast_link_local() || net.prefix_len() == 0;
    (fields.last()? != "lo" && !everywhere).then(|| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_kernels_table_is_read_but_for_the_way_out() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                     eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                     vpn0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\nnonsense\n";
        assert_eq!(parse(table), [(Ipv4Addr::new(172, 17, 0, 0), 16, "vpn0".to_owned())]);
    }

    #[test]
    fn ipv6_routes_that_every_interface_has_say_nothing() {
        let row = |destination: &str, prefix: &str, interface: &str| {
            let zero = "0".repeat(32);
            format!(
                "{destination:0<32} {prefix} {zero} 00 {zero} 00000100 00000001 00000000 00000001 {interface}"
            )
        };
        assert_eq!(parse_v6(&row("fd00", "40", "vpn0")), Some("fd00::/64".parse().unwrap()));
        for (destination, prefix, interface) in
            [("fe80", "40", "eth0"), ("ff00", "08", "eth0"), ("0", "00", "eth0"), ("fd00", "40", "lo")]
        {
            assert_eq!(parse_v6(&row(destination, prefix, interface)), None, "{destination}");
        }
        assert_eq!(parse_v6("nonsense"), None);
    }
}
