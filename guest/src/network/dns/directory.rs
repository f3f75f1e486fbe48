//! Who is called what on which network, and where they are. What one container sees of it is what is on its own
//! networks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use holm_api::{ContainerId, NetworkId};

use crate::network::Family;

/// One container on one network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Which.
    pub network: NetworkId,
    /// Its name, by which others say whom of several they mean (`web.backend`).
    pub network_name: String,
    /// What the others call it. Its first name is what its addresses are called.
    pub names: Vec<String>,
    /// Where it is.
    pub addresses: Vec<IpAddr>,
    /// What it calls others: its own word first, then theirs.
    pub links: Vec<(String, String)>,
}

/// All names.
#[derive(Debug, Default)]
pub struct Directory {
    inner: Mutex<Inner>,
    /// So that of several addresses each comes first in turn.
    turn: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    present: HashMap<ContainerId, Vec<Presence>>,
    names: HashMap<NetworkId, HashMap<String, BTreeMap<ContainerId, Vec<IpAddr>>>>,
}

impl Directory {
    /// A container is here, and nowhere else from now on.
    pub fn set(&self, container: &ContainerId, places: Vec<Presence>) {
        let mut inner = self.lock();
        inner.forget(container);
        for place in &places {
            let network = inner.names.entry(place.network.clone()).or_default();
            for name in &place.names {
                let owners = network.entry(name.to_lowercase()).or_default();
                owners.insert(container.clone(), place.addresses.clone());
            }
        }
        if !places.is_empty() {
            inner.present.insert(container.clone(), places);
        }
    }

    /// It is gone.
    pub fn forget(&self, container: &ContainerId) {
        self.lock().forget(container);
    }

    /// The addresses of a name as `asker` sees it: `None` where nobody is called so, and none of this family where they
    /// have others.
    pub fn find(&self, asker: &ContainerId, name: &str, family: Family) -> Option<Vec<IpAddr>> {
        let name = name.to_lowercase();
        let mut found = self.lock().find(asker, &name)?;
        found.retain(|address| address.is_ipv4() == (family == Family::V4));
        if found.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % found.len();
            found.rotate_left(turn);
        }
        Some(found)
    }

    /// What `asker` calls the one at this address: its name and its network's.
    pub fn reverse(&self, asker: &ContainerId, address: IpAddr) -> Option<String> {
        let inner = self.lock();
        inner.present.get(asker)?.iter().find_map(|own| {
            let there = inner.present.values().flatten().filter(|place| place.network == own.network);
            let named = there.filter(|place| place.addresses.contains(&address));
            let name = named.filter_map(|place| place.names.first()).next()?;
            Some(format!("{name}.{}", own.network_name))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic between two changes leaves at worst a name of one that is gone, which its next change removes.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, container: &ContainerId) {
        for place in self.present.remove(container).unwrap_or_default() {
            let Some(network) = self.names.get_mut(&place.network) else { continue };
            for name in &place.names {
                let name = name.to_lowercase();
                let Some(owners) = network.get_mut(&name) else { continue };
                owners.remove(container);
                if owners.is_empty() {
                    network.remove(&name);
                }
            }
            if network.is_empty() {
                self.names.remove(&place.network);
            }
        }
    }

    /// The whole name on each of the asker's networks, then its last part as a network's name.
    fn find(&self, asker: &ContainerId, name: &str) -> Option<Vec<IpAddr>> {
        let own = self.present.get(asker)?;
        let whole = own.iter().find_map(|place| self.on(place, name));
        whole.or_else(|| {
            let (name, network) = name.rsplit_once('.')?;
            let place = own.iter().find(|place| place.network_name.to_lowercase() == network)?;
            self.on(place, name)
        })
    }

    fn on(&self, place: &Presence, name: &str) -> Option<Vec<IpAddr>> {
        let linked = place.links.iter().find(|(own, _)| own.to_lowercase() == name);
        let name = linked.map_or_else(|| name.to_owned(), |(_, theirs)| theirs.to_lowercase());
        let owners = self.names.get(&place.network)?.get(&name)?;
        Some(owners.values().flatten().copied().collect())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::network::dns) fn id(number: u8) -> ContainerId {
        ContainerId::from_bytes([number; 32])
    }

    pub(in crate::network::dns) fn on(network: &str, names: &[&str], addresses: &[&str]) -> Presence {
        Presence {
            network: NetworkId::from_bytes([network.as_bytes()[0]; 32]),
            network_name: network.to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            links: Vec::new(),
        }
    }

    fn found(directory: &Directory, asker: u8, name: &str) -> Option<Vec<String>> {
        let found = directory.find(&id(asker), name, Family::V4)?;
        Some(found.iter().map(IpAddr::to_string).collect())
    }

    #[test]
    fn names_are_known_on_the_networks_one_is_on_and_nowhere_else() {
        let directory = Directory::default();
        directory.set(&id(1), vec![on("front", &["web"], &["10.1.0.2"])]);
        directory.set(&id(2), vec![on("back", &["db", "Store"], &["10.2.0.2", "fd00::2"])]);
        directory
            .set(&id(3), vec![on("front", &["app"], &["10.1.0.3"]), on("back", &["app"], &["10.2.0.3"])]);
        assert_eq!(found(&directory, 1, "db"), None);
        assert_eq!(found(&directory, 3, "DB").unwrap(), ["10.2.0.2"]);
        assert_eq!(found(&directory, 3, "store.back").unwrap(), ["10.2.0.2"]);
        assert_eq!(found(&directory, 3, "app.back").unwrap(), ["10.2.0.3"]);
        assert_eq!(found(&directory, 3, "web.back"), None);
        assert_eq!(directory.find(&id(3), "web", Family::V6), Some(Vec::new()));
        assert_eq!(directory.reverse(&id(3), "fd00::2".parse().unwrap()).unwrap(), "db.back");
        assert_eq!(directory.reverse(&id(1), "10.2.0.2".parse().unwrap()), None);
        directory.forget(&id(2));
        assert_eq!(found(&directory, 3, "db"), None);
    }

    #[test]
    fn of_several_each_comes_first_in_turn() {
        let directory = Directory::default();
        for number in 1..=3 {
            directory.set(&id(number), vec![on("n", &["app"], &[&format!("10.1.0.{number}")])]);
        }
        let first: Vec<_> = (0..3).map(|_| found(&directory, 1, "app").unwrap()[0].clone()).collect();
        assert_eq!(first, ["10.1.0.1", "10.1.0.2", "10.1.0.3"]);
        assert_eq!(found(&directory, 1, "app").unwrap().len(), 3);
    }

    #[test]
    fn a_link_is_a_name_of_ones_own() {
        let directory = Directory::default();
        let mut own = on("n", &["app"], &["10.1.0.1"]);
        own.links.push(("database".to_owned(), "db".to_owned()));
        directory.set(&id(1), vec![own]);
        directory.set(&id(2), vec![on("n", &["db"], &["10.1.0.2"])]);
        assert_eq!(found(&directory, 1, "database").unwrap(), ["10.1.0.2"]);
        assert_eq!(found(&directory, 2, "database"), None);
    }
}
