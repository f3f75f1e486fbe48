//! Which addresses of a network are taken. Pure: who has them is the caller's to write down.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// The addresses of one subnet that containers can have. IPv4 and IPv6 alike are numbers here.
#[derive(Clone, Debug)]
pub struct Addresses {
    subnet: IpNet,
    /// What is handed out unasked; an address that somebody asks for may lie anywhere in the subnet.
    range: IpNet,
    taken: BTreeSet<u128>,
}

/// Why an address could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// None is free.
    Exhausted,
    /// Somebody has this one.
    Taken,
    /// It is not one of the network's.
    Outside,
}

impl Addresses {
    /// All of this subnet. `range` is the part that is handed out unasked, `None` the whole of it.
    pub fn new(subnet: IpNet, range: Option<IpNet>) -> Self {
        Self { subnet: subnet.trunc(), range: range.unwrap_or(subnet).trunc(), taken: BTreeSet::new() }
    }

    /// The subnet.
    pub fn subnet(&self) -> IpNet {
        self.subnet
    }

    /// The lowest free address, which is what Docker gives and people have written down (172.17.0.2).
    pub fn take_lowest(&mut self) -> Result<IpAddr, Refused> {
        let (first, last) = self.bounds();
        let mut candidate = first.max(bits(self.range.network()));
        let last = last.min(bits(self.range.broadcast()));
        // `taken` is in order: the first that is not the candidate lies behind a gap.
        for &taken in self.taken.range(candidate..) {
            if taken != candidate {
                break;
            }
            candidate = candidate.checked_add(1).ok_or(Refused::Exhausted)?;
        }
        if candidate > last {
            return Err(Refused::Exhausted);
        }
        self.taken.insert(candidate);
        Ok(self.address(candidate))
    }

    /// This one.
    pub fn take(&mut self, address: IpAddr) -> Result<(), Refused> {
        let (first, last) = self.bounds();
        let same_family = address.is_ipv4() == self.subnet.addr().is_ipv4();
        if !same_family || !(first..=last).contains(&bits(address)) {
            return Err(Refused::Outside);
        }
        if self.taken.insert(bits(address)) { Ok(()) } else { Err(Refused::Taken) }
    }

    /// Nobody has it any more. Does nothing where nobody had.
    pub fn free(&mut self, address: IpAddr) {
        self.taken.remove(&bits(address));
    }

    /// All but the subnet's own address and, of IPv4, that of its broadcasts. A subnet of one or two addresses has
    /// neither (RFC 3021).
    fn bounds(&self) -> (u128, u128) {
        let (first, last) = (bits(self.subnet.network()), bits(self.subnet.broadcast()));
        if self.subnet.max_prefix_len() - self.subnet.prefix_len() < 2 {
            return (first, last);
        }
        (first + 1, if self.subnet.addr().is_ipv4() { last - 1 } else { last })
    }

    fn address(&self, bits: u128) -> IpAddr {
        match self.subnet {
            // No larger number lies in an IPv4 subnet.
            IpNet::V4(_) => IpAddr::V4((bits as u32).into()),
            IpNet::V6(_) => IpAddr::V6(bits.into()),
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(subnet: &str, range: Option<&str>, gateway: &str) -> Addresses {
        let mut addresses =
            Addresses::new(subnet.parse().unwrap(), range.map(|range| range.parse().unwrap()));
        addresses.take(gateway.parse().unwrap()).unwrap();
        addresses
    }

    fn docker0() -> Addresses {
        addresses("172.17.0.0/16", None, "172.17.0.1")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_container_gets_the_address_that_everybody_has_written_down() {
        assert_eq!(docker0().take_lowest(), Ok(ip("172.17.0.2")));
        let mut six = addresses("fd00:1::/64", None, "fd00:1::1");
        assert_eq!(six.take_lowest(), Ok(ip("fd00:1::2")));
    }

    #[test]
    fn a_freed_address_is_the_next_one_given() {
        let mut addresses = docker0();
        let all: Vec<_> = (0..3).map(|_| addresses.take_lowest().unwrap()).collect();
        addresses.free(all[1]);
        assert_eq!(addresses.take_lowest(), Ok(all[1]));
        assert_eq!(addresses.take_lowest(), Ok(ip("172.17.0.5")));
    }

    #[test]
    fn the_gateway_may_sit_anywhere_in_its_network() {
        let mut addresses = addresses("10.0.0.0/29", None, "10.0.0.5");
        let given: Vec<_> = std::iter::from_fn(|| addresses.take_lowest().ok()).collect();
        assert_eq!(given, ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.6"].map(ip));
        assert_eq!(addresses.take_lowest(), Err(Refused::Exhausted));
    }

    #[test]
    fn a_range_is_handed_out_and_the_rest_is_had_for_the_asking() {
        let mut addresses = addresses("10.0.0.0/24", Some("10.0.0.128/30"), "10.0.0.1");
        let given: Vec<_> = std::iter::from_fn(|| addresses.take_lowest().ok()).collect();
        assert_eq!(given, ["10.0.0.128", "10.0.0.129", "10.0.0.130", "10.0.0.131"].map(ip));
        assert_eq!(addresses.take(ip("10.0.0.9")), Ok(()));
    }

    #[test]
    fn an_address_is_given_once_and_only_from_its_network() {
        let mut addresses = docker0();
        assert_eq!(addresses.take(ip("172.17.0.2")), Ok(()));
        assert_eq!(addresses.take(ip("172.17.0.2")), Err(Refused::Taken));
        assert_eq!(addresses.take(ip("172.17.0.1")), Err(Refused::Taken));
        for outside in ["172.17.0.0", "172.17.255.255", "172.18.0.2", "0.0.0.0", "::ac11:2", "fd00::1"] {
            assert_eq!(addresses.take(ip(outside)), Err(Refused::Outside), "{outside}");
        }
        assert_eq!(addresses.take_lowest(), Ok(ip("172.17.0.3")));
    }

    #[test]
    fn the_last_subnet_of_all_can_be_used_up() {
        let mut addresses =
            Addresses::new("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127".parse().unwrap(), None);
        assert_eq!(std::iter::from_fn(|| addresses.take_lowest().ok()).count(), 2);
        assert_eq!(addresses.take_lowest(), Err(Refused::Exhausted));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn whatever_comes_and_goes_no_address_is_had_twice() {
        bolero::check!().with_type::<(u32, u8, Vec<(u8, u8)>)>().for_each(|(network, prefix, steps)| {
            let prefix = 24 + prefix % 9;
            let subnet: IpNet =
                format!("{}/{prefix}", std::net::Ipv4Addr::from_bits(*network)).parse().unwrap();
            let mut addresses = Addresses::new(subnet, None);
            let mut had = BTreeSet::new();
            for (what, which) in steps {
                match what % 3 {
                    0 => {
                        if let Ok(address) = addresses.take_lowest() {
                            assert!(subnet.contains(&address) && had.insert(address));
                        }
                    }
                    1 => {
                        let base = bits(subnet.network()) as u32;
                        let wanted = IpAddr::V4(base.wrapping_add((*which).into()).into());
                        match addresses.take(wanted) {
                            Ok(()) => assert!(subnet.contains(&wanted) && had.insert(wanted)),
                            Err(Refused::Taken) => assert!(had.contains(&wanted)),
                            Err(_) => assert!(!had.contains(&wanted)),
                        }
                    }
                    _ => {
                        if let Some(address) = had.iter().nth((*which).into()).copied() {
                            addresses.free(address);
                            had.remove(&address);
                        }
                    }
                }
            }
        });
    }
}
