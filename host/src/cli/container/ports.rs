//! The PORTS column: neighbouring ports as ranges, those published under another number last.

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

/// A port as the daemon lists it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Port {
    #[serde(rename = "IP", default)]
    address: String,
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(rename = "PublicPort", default)]
    public: u16,
    #[serde(rename = "Type")]
    protocol: String,
}

/// `0.0.0.0:80->9090/tcp, 9988/tcp`
pub(crate) fn show(ports: &[Port]) -> String {
    let mut ports = ports.to_vec();
    ports.sort_by(|a, b| {
        (a.private, &a.address, a.public, &a.protocol).cmp(&(b.private, &b.address, b.public, &b.protocol))
    });
    let mut finished = Vec::new();
    let mut renumbered = Vec::new();
    let mut keys: Vec<(String, String)> = Vec::new();
    let mut open: HashMap<(String, String), (u16, u16)> = HashMap::new();
    for port in ports {
        if !port.address.is_empty() && port.public != port.private {
            let host = joined(&port.address, &port.public.to_string());
            renumbered.push(format!("{host}->{}/{}", port.private, port.protocol));
            continue;
        }
        let key = (port.address, port.protocol);
        match open.get_mut(&key) {
            None => {
                open.insert(key.clone(), (port.private, port.private));
                keys.push(key);
            }
            Some((_, last)) if port.private == last.wrapping_add(1) => *last = port.private,
            Some(range) => {
                finished.push(group(&key, *range));
                *range = (port.private, port.private);
            }
        }
    }
    finished.extend(keys.iter().map(|key| group(key, open[key])));
    finished.extend(renumbered);
    finished.join(", ")
}

fn group((address, protocol): &(String, String), (first, last): (u16, u16)) -> String {
    let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
    if address.is_empty() {
        return format!("{range}/{protocol}");
    }
    format!("{}->{range}/{protocol}", joined(address, &range))
}

fn joined(address: &str, port: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(_)) => format!("[{address}]:{port}"),
        _ => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: &str, private: u16, public: u16, protocol: &str) -> Port {
        Port { address: address.to_owned(), private, public, protocol: protocol.to_owned() }
    }

    #[test]
    fn neighbours_become_ranges_and_renumbered_ports_stand_last() {
        let ports = [
            port("0.0.0.0", 80, 8080, "tcp"),
            port("::", 80, 8080, "tcp"),
            port("0.0.0.0", 9000, 9000, "udp"),
            port("0.0.0.0", 9001, 9001, "udp"),
            port("0.0.0.0", 9002, 9002, "udp"),
            port("::", 9000, 9000, "udp"),
        ];
        assert_eq!(
            show(&ports),
            "0.0.0.0:9000-9002->9000-9002/udp, [::]:9000->9000/udp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
    }

    #[test]
    fn ports_that_are_not_published_have_no_address() {
        assert_eq!(show(&[port("", 443, 0, "tcp"), port("", 80, 0, "tcp")]), "80/tcp, 443/tcp");
        assert_eq!(show(&[port("", 80, 0, "tcp"), port("", 81, 0, "tcp")]), "80-81/tcp");
        assert_eq!(show(&[]), "");
    }
}
