//! Where this computer sends packets.

use std::net::Ipv4Addr;

/// The kernel's table of IPv4 routes; only Linux has it as a file.
const TABLE: &str = "/proc/net/route";

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
}
