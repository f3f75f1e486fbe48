//! A container's place on a network: its interface, its addresses, and where its packets to elsewhere go.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use holm_api::{EndpointId, NetworkId};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a container has on one network. Kept in its record, so that a restarted engine knows which addresses are
/// taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Names it for as long as it is.
    pub id: EndpointId,
    /// Where it is.
    pub network: NetworkId,
    /// The network's name.
    pub network_name: String,
    /// In the container: `eth0`.
    pub interface: String,
    /// Of that interface.
    pub mac: MacAddress,
    /// Its IPv4 address, where the network has such.
    pub v4: Option<Place>,
    /// Its IPv6 address, likewise.
    pub v6: Option<Place>,
    /// The one with the highest of all of a container's endpoints has the default route.
    pub priority: i64,
}

/// An address on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// With the length of the network's prefix.
    pub address: IpNet,
    /// Where the way out is; an internal network has none.
    pub gateway: Option<IpAddr>,
}

impl Endpoint {
    /// Name of the machine's end of the veth pair. Made from the address, which no two endpoints share: what a
    /// killed engine left is found again.
    pub fn outside(&self) -> String {
        match (&self.v4, &self.v6) {
            (Some(Place { address: IpNet::V4(net), .. }), _) => format!("veth{:08x}", net.addr().to_bits()),
            (_, Some(place)) => format!("veth6{}", &hex::encode(hash(place.address.addr()))[..8]),
            // A network without any addresses.
            _ => format!("vethx{}", &self.id.as_str()[..8]),
        }
    }

    /// All its addresses, IPv4 first.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.v4.iter().chain(&self.v6)
    }
}

/// Of a container's endpoints the one that has the default route of this family: that of the highest priority, then
/// one that has the other family as well, then the first by the network's name, as Docker chooses.
pub fn way_out(endpoints: &[Endpoint], family: Family) -> Option<(&Endpoint, IpAddr)> {
    let gateway = |endpoint: &Endpoint| match family {
        Family::V4 => endpoint.v4?.gateway,
        Family::V6 => endpoint.v6?.gateway,
    };
    let able = endpoints.iter().filter_map(|endpoint| Some((endpoint, gateway(endpoint)?)));
    able.max_by(|(one, _), (other, _)| {
        let both = |endpoint: &Endpoint| endpoint.v4.is_some() && endpoint.v6.is_some();
        one.priority
            .cmp(&other.priority)
            .then(both(one).cmp(&both(other)))
            .then(other.network_name.cmp(&one.network_name))
    })
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

fn hash(address: IpAddr) -> [u8; 32] {
    match address {
        IpAddr::V4(address) => Sha256::digest(address.octets()).into(),
        IpAddr::V6(address) => Sha256::digest(address.octets()).into(),
    }
}

/// The address of an Ethernet interface.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// `02:42` and the four bytes of the address: unique on a network and the same after every restart, so
    /// that neighbours' ARP caches stay right.
    pub fn of(address: Ipv4Addr) -> Self {
        let [a, b, c, d] = address.octets();
        Self([0x02, 0x42, a, b, c, d])
    }

    /// Likewise of an endpoint that has no address at all.
    pub fn of_id(id: &EndpointId) -> Self {
        let mut bytes = [0x02, 0x42, 0, 0, 0, 0];
        // The digits of an id are hexadecimal.
        let _ = hex::decode_to_slice(&id.as_str()[..8], &mut bytes[2..]);
        Self(bytes)
    }

    /// Likewise, with four bytes of the longer address' digest.
    pub fn of_any(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of(address),
            IpAddr::V6(_) => {
                let [a, b, c, d, ..] = hash(address);
                Self([0x02, 0x42, a, b, c, d])
            }
        }
    }
}

/// What is wrong with a text that should have been a MAC address. Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a valid mac address")]
pub struct ParseMacAddressError(String);

impl FromStr for MacAddress {
    type Err = ParseMacAddressError;

    fn from_str(text: &str) -> Result<Self, ParseMacAddressError> {
        let wrong = || ParseMacAddressError(text.chars().take(80).collect());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *byte = hex::decode(part).ok().and_then(|part| part.first().copied()).ok_or_else(wrong)?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for MacAddress {
    type Error = ParseMacAddressError;

    fn try_from(text: String) -> Result<Self, ParseMacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An endpoint on a network of this name, with these addresses, whose gateways are the networks' first.
    pub(crate) fn endpoint(name: &str, v4: Option<&str>, v6: Option<&str>) -> Endpoint {
        let place = |text: &str| {
            let address: IpNet = text.parse().unwrap();
            Place { address, gateway: address.hosts().next() }
        };
        Endpoint {
            id: EndpointId::from_bytes([7; 32]),
            network: NetworkId::from_bytes(Sha256::digest(name).into()),
            network_name: name.to_owned(),
            interface: "eth0".to_owned(),
            mac: MacAddress::of_any(v4.or(v6).map_or([0; 4].into(), |text| place(text).address.addr())),
            v4: v4.map(place),
            v6: v6.map(place),
            priority: 0,
        }
    }

    #[test]
    fn a_mac_address_is_made_from_the_ip_address() {
        assert_eq!(MacAddress::of(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn a_mac_address_reads_back_as_it_was_written_and_nothing_else_is_one() {
        assert_eq!("92:d0:c6:0a:29:33".parse(), Ok(MacAddress([0x92, 0xd0, 0xc6, 0x0a, 0x29, 0x33])));
        for wrong in ["", "92:d0:c6:0a:29", "92:d0:c6:0a:29:33:44", "92:d0:c6:0a:29:3", "92:d0:c6:0a:29:zz"] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_interface_name_fits_the_kernels_fifteen_bytes() {
        assert_eq!(endpoint("a", Some("172.17.255.254/16"), None).outside(), "vethac11fffe");
        for other in [endpoint("a", None, Some("fd00::2/64")), endpoint("a", None, None)] {
            assert_eq!(other.outside().len(), 13);
        }
    }

    #[test]
    fn the_way_out_is_by_priority_then_by_both_families_then_by_name() {
        let chosen = |endpoints: &[Endpoint]| {
            way_out(endpoints, Family::V4).map(|(endpoint, _)| endpoint.network_name.clone())
        };
        let a = endpoint("a", Some("10.1.0.2/16"), None);
        let b = endpoint("b", Some("10.2.0.2/16"), None);
        let c = endpoint("c", Some("10.3.0.2/16"), Some("fd00::2/64"));
        assert_eq!(chosen(&[b.clone(), a.clone()]).unwrap(), "a");
        assert_eq!(chosen(&[a.clone(), c.clone()]).unwrap(), "c");
        let preferred = Endpoint { priority: 1, ..b };
        assert_eq!(chosen(&[a.clone(), preferred, c]).unwrap(), "b");
        let mut internal = a;
        internal.v4 = internal.v4.map(|place| Place { gateway: None, ..place });
        assert_eq!(chosen(&[internal]), None);
    }
}
