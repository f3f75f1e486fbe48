//! Which numbers are tried, in what order, as moby's port allocator has it: wishes that differ only in the address
//! get the same number, exact numbers come before ranges, and a number is handed out once an address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use holm_api::services::{BoundPort, PortWish, Protocol};

/// An address to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    /// Not asked for by name: the IPv6 half of "all addresses".
    pub(super) optional: bool,
}

/// The wishes, those that need the same number together.
pub(super) fn groups(wishes: &[PortWish]) -> Vec<Vec<PortWish>> {
    let alike = |wish: &PortWish| {
        let is_range = wish.first == 0 || wish.first != wish.last;
        (is_range, wish.container_port, wish.protocol, wish.first, wish.last)
    };
    let mut sorted = wishes.to_vec();
    // Stable: the addresses keep their order, "all of them" first.
    sorted.sort_by_key(|wish| (alike(wish), wish.address));
    sorted.dedup();
    sorted.chunk_by(|one, other| alike(one) == alike(other)).map(<[PortWish]>::to_vec).collect()
}

/// The addresses of a group.
pub(super) fn addresses(group: &[PortWish]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for wish in group {
        let wanted = match wish.address {
            Some(address) => vec![Place { address: address.to_canonical(), optional: false }],
            None => vec![
                Place { address: Ipv4Addr::UNSPECIFIED.into(), optional: false },
                Place { address: Ipv6Addr::UNSPECIFIED.into(), optional: true },
            ],
        };
        for place in wanted {
            if !places.iter().any(|other| other.address == place.address) {
                places.push(place);
            }
        }
    }
    places
}

/// The numbers that will do, in the order in which they are tried. `last` was handed out last where any would do.
pub(super) fn candidates(
    wish: &PortWish,
    last: u16,
    dynamic: RangeInclusive<u16>,
) -> impl Iterator<Item = u16> + use<> {
    let (range, start) = match wish.first {
        0 => {
            let after = last.checked_add(1).filter(|next| dynamic.contains(next));
            (dynamic.clone(), after.unwrap_or(*dynamic.start()))
        }
        first => (first..=wish.last, first),
    };
    let (begin, end) = (*range.start(), *range.end());
    (start..=end).chain(begin..start)
}

/// The numbers that containers have.
#[derive(Debug, Default)]
pub(super) struct Taken(HashMap<(Protocol, u16), Vec<IpAddr>>);

impl Taken {
    /// Those of all these.
    pub(super) fn new<'a>(bound: impl Iterator<Item = &'a BoundPort>) -> Self {
        let mut taken = Self::default();
        bound.for_each(|port| taken.add(port));
        taken
    }

    /// One more.
    pub(super) fn add(&mut self, port: &BoundPort) {
        self.0.entry((port.protocol, port.port)).or_default().push(port.address);
    }

    /// Whether somebody has the number at this address, or at all of its family.
    pub(super) fn has(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        let same = |other: &IpAddr| {
            let family = other.is_ipv4() == address.is_ipv4();
            family && (*other == address || other.is_unspecified() || address.is_unspecified())
        };
        self.0.get(&(protocol, port)).is_some_and(|addresses| addresses.iter().any(same))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(container_port: u16, address: Option<&str>, first: u16, last: u16) -> PortWish {
        let address = address.map(|text| text.parse().unwrap());
        PortWish { protocol: Protocol::Tcp, container_port, address, first, last }
    }

    #[test]
    fn exact_numbers_come_before_ranges_and_addresses_stay_together() {
        let wishes = [
            wish(80, None, 0, 0),
            wish(443, Some("127.0.0.1"), 8443, 8443),
            wish(80, Some("127.0.0.1"), 8080, 8080),
            wish(80, Some("::1"), 8080, 8080),
        ];
        let groups = groups(&wishes);
        let shape: Vec<_> = groups.iter().map(|group| (group[0].container_port, group.len())).collect();
        assert_eq!(shape, [(80, 2), (443, 1), (80, 1)]);
        assert_eq!(addresses(&groups[0]).len(), 2);
    }

    #[test]
    fn all_addresses_are_those_of_both_families_under_one_number() {
        let places = addresses(&[wish(80, None, 0, 0), wish(80, Some("::ffff:0.0.0.0"), 0, 0)]);
        let shown: Vec<_> = places.iter().map(|place| (place.address.to_string(), place.optional)).collect();
        assert_eq!(shown, [("0.0.0.0".to_owned(), false), ("::".to_owned(), true)]);
    }

    #[test]
    fn any_number_is_the_one_after_the_last() {
        let any = |last| candidates(&wish(80, None, 0, 0), last, 100..=103).collect::<Vec<_>>();
        assert_eq!(any(0), [100, 101, 102, 103]);
        assert_eq!(any(101), [102, 103, 100, 101]);
        assert_eq!(any(103), [100, 101, 102, 103]);
        assert_eq!(any(u16::MAX), [100, 101, 102, 103]);
    }

    #[test]
    fn a_range_is_tried_from_its_begin() {
        assert_eq!(candidates(&wish(80, None, 90, 92), 91, 1..=9).collect::<Vec<_>>(), [90, 91, 92]);
        assert_eq!(candidates(&wish(80, None, 65535, 65535), 0, 1..=9).collect::<Vec<_>>(), [65535]);
    }

    #[test]
    fn a_number_is_taken_for_its_address_and_for_all_of_the_family() {
        let bound = |address: &str| BoundPort {
            protocol: Protocol::Tcp,
            container_port: 80,
            address: address.parse().unwrap(),
            port: 8080,
        };
        let taken = Taken::new([bound("127.0.0.1")].iter());
        let has = |address: &str| taken.has(Protocol::Tcp, address.parse().unwrap(), 8080);
        assert!(has("127.0.0.1") && has("0.0.0.0"));
        assert!(!has("127.0.0.2") && !has("::") && !has("::1"));
        assert!(!taken.has(Protocol::Udp, Ipv4Addr::LOCALHOST.into(), 8080));
    }
}
