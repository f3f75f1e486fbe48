//! How much of a table each container's address holds: at most three quarters, so that one that opens more than there
//! is harms itself, and every other one still finds room.

use std::collections::HashMap;
use std::net::IpAddr;

/// What each address holds of one table.
#[derive(Debug)]
pub(super) struct Shares {
    held: HashMap<IpAddr, usize>,
    most: usize,
}

impl Shares {
    /// Of a table with `size` places.
    pub(super) fn of(size: usize) -> Self {
        // A table of one place is nobody's in particular.
        Self { held: HashMap::new(), most: (size - size / 4).max(1) }
    }

    /// Whether `address` may have one more.
    pub(super) fn has_room(&self, address: IpAddr) -> bool {
        self.held.get(&address).is_none_or(|held| *held < self.most)
    }

    /// It has one more.
    pub(super) fn take(&mut self, address: IpAddr) {
        *self.held.entry(address).or_default() += 1;
    }

    /// It has one less.
    pub(super) fn give_back(&mut self, address: IpAddr) {
        if let Some(held) = self.held.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_gets_all_places_of_a_table() {
        let (greedy, other) = ([172, 17, 0, 2].into(), [172, 17, 0, 3].into());
        let mut shares = Shares::of(8);
        for _ in 0..6 {
            assert!(shares.has_room(greedy));
            shares.take(greedy);
        }
        assert!(!shares.has_room(greedy) && shares.has_room(other));
        shares.give_back(greedy);
        assert!(shares.has_room(greedy));
    }

    #[test]
    fn whoever_holds_nothing_is_forgotten() {
        let mut shares = Shares::of(1);
        let address = [172, 17, 0, 2].into();
        shares.take(address);
        shares.give_back(address);
        shares.give_back(address);
        assert!(shares.held.is_empty() && shares.has_room(address));
    }
}
