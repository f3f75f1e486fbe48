//! A container's place on a network: what it may ask for, and what it got.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a container asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointRequest {
    /// `None`: the lowest free address.
    pub address: Option<Ipv4Addr>,
    /// `None`: one made from the address.
    pub mac: Option<MacAddress>,
}

/// What it got. Kept in the container's record, so that a restarted engine knows which addresses are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Of the container's `eth0`.
    pub address: Ipv4Addr,
    /// Length of the network's prefix in bits.
    pub prefix: u8,
    /// Where its default route leads.
    pub gateway: Ipv4Addr,
    /// Of the container's `eth0`.
    pub mac: MacAddress,
}

impl Endpoint {
    /// Name of the machine's end of the veth pair. Made from the address, which no two endpoints share: what a
    /// killed engine left is found again.
    pub(super) fn interface(&self) -> String {
        format!("veth{:08x}", self.address.to_bits())
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
mod tests {
    use super::*;

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
        let address = Ipv4Addr::new(172, 17, 255, 254);
        let endpoint = Endpoint { address, prefix: 16, gateway: address, mac: MacAddress::of(address) };
        assert_eq!(endpoint.interface(), "vethac11fffe");
        assert!(endpoint.interface().len() <= 15);
    }
}
