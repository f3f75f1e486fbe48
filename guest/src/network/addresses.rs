//! Which addresses of a network are taken. Pure: who has them is the caller's to write down.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// The addresses of one IPv4 network that containers can have: all but its first, its last, and its gateway's.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    network: u32,
    prefix: u8,
    taken: BTreeSet<u32>,
}

/// Why an address could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// None is free.
    Exhausted,
    /// Somebody has this one.
    Taken,
    /// It is not one of the network's.
    Outside,
}

impl Addresses {
    /// The network of this gateway. `prefix` is at most 30.
    pub(super) fn new(gateway: Ipv4Addr, prefix: u8) -> Self {
        let network = gateway.to_bits() & (u32::MAX << (32 - prefix));
        Self { network, prefix, taken: BTreeSet::from([gateway.to_bits()]) }
    }

    /// The lowest free address, which is what Docker gives and people have written down (172.17.0.2).
    pub(super) fn take_lowest(&mut self) -> Result<Ipv4Addr, Refused> {
        let mut candidate = self.network + 1;
        // `taken` is in order: the first that is not the candidate lies behind a gap.
        for &taken in &self.taken {
            if taken != candidate {
                break;
            }
            candidate += 1;
        }
        let address = Ipv4Addr::from_bits(candidate);
        self.take(address).map(|()| address).map_err(|_| Refused::Exhausted)
    }

    /// This one.
    pub(super) fn take(&mut self, address: Ipv4Addr) -> Result<(), Refused> {
        let bits = address.to_bits();
        let last = self.network | (u32::MAX >> self.prefix);
        if bits <= self.network || bits >= last {
            return Err(Refused::Outside);
        }
        if self.taken.insert(bits) { Ok(()) } else { Err(Refused::Taken) }
    }

    /// Nobody has it any more. Does nothing where nobody had.
    pub(super) fn free(&mut self, address: Ipv4Addr) {
        self.taken.remove(&address.to_bits());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docker0() -> Addresses {
        Addresses::new(Ipv4Addr::new(172, 17, 0, 1), 16)
    }

    #[test]
    fn the_first_container_gets_the_address_that_everybody_has_written_down() {
        assert_eq!(docker0().take_lowest(), Ok(Ipv4Addr::new(172, 17, 0, 2)));
    }

    #[test]
    fn a_freed_address_is_the_next_one_given() {
        let mut addresses = docker0();
        let all: Vec<_> = (0..3).map(|_| addresses.take_lowest().unwrap()).collect();
        addresses.free(all[1]);
        assert_eq!(addresses.take_lowest(), Ok(all[1]));
        assert_eq!(addresses.take_lowest(), Ok(Ipv4Addr::new(172, 17, 0, 5)));
    }

    #[test]
    fn the_gateway_may_sit_anywhere_in_its_network() {
        let mut addresses = Addresses::new(Ipv4Addr::new(10, 0, 0, 5), 29);
        let given: Vec<_> =
            std::iter::from_fn(|| addresses.take_lowest().ok()).map(|a| a.octets()[3]).collect();
        assert_eq!(given, [1, 2, 3, 4, 6]);
        assert_eq!(addresses.take_lowest(), Err(Refused::Exhausted));
    }

    #[test]
    fn an_address_is_given_once_and_only_from_its_network() {
        let mut addresses = docker0();
        let wanted = Ipv4Addr::new(172, 17, 0, 2);
        assert_eq!(addresses.take(wanted), Ok(()));
        assert_eq!(addresses.take(wanted), Err(Refused::Taken));
        assert_eq!(addresses.take(Ipv4Addr::new(172, 17, 0, 1)), Err(Refused::Taken));
        for outside in [[172, 17, 0, 0], [172, 17, 255, 255], [172, 18, 0, 2], [0, 0, 0, 0], [255; 4]] {
            assert_eq!(addresses.take(outside.into()), Err(Refused::Outside), "{outside:?}");
        }
        assert_eq!(addresses.take_lowest(), Ok(Ipv4Addr::new(172, 17, 0, 3)));
    }
}
