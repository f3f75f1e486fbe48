//! On which ports programs of the machine's own network listen, from `/proc/net/{tcp,udp}{,6}` (proc(5)), and
//! which of these the computer's loopback is to have.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use holm_api::network::{GUEST_V4, GUEST_V6};
use holm_api::services::{MOST_SHOWN, Protocol, ShownPort, Target};

/// Bytes read of one table. The kernel writes sockets that listen before all others.
const MOST_BYTES: u64 = 1 << 20;
/// The kernel's numbers for a TCP socket that listens, and for one of UDP that is not connected.
const LISTENS: &str = "0A";
const UNCONNECTED: &str = "07";

/// A socket that takes whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    protocol: Protocol,
    address: IpAddr,
    port: u16,
    inode: u64,
}

/// What the computer is to show: at most [`MOST_SHOWN`], the lowest ones. Not what this process listens on.
pub fn shown_ports() -> io::Result<Vec<ShownPort>> {
    let mut listeners = Vec::new();
    for (name, protocol) in
        [("tcp", Protocol::Tcp), ("tcp6", Protocol::Tcp), ("udp", Protocol::Udp), ("udp6", Protocol::Udp)]
    {
        match File::open(format!("/proc/self/net/{name}")) {
            Ok(table) => read(BufReader::new(table.take(MOST_BYTES)), protocol, &mut listeners)?,
            // A kernel without IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        return Ok(Vec::new());
    }
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")?;
    // After the tables: what of them is ours is still open, or gone and nobody's.
    Ok(choose(&listeners, &own_sockets()?, &clients_range(&range)))
}

/// By their inodes.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let links = fs::read_dir("/proc/self/fd")?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    };
    Ok(links.filter_map(inode).collect())
}

/// The ports that the kernel gives to who asks for none.
fn clients_range(text: &str) -> RangeInclusive<u16> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(first)), Some(Ok(last))) => first..=last,
        // The kernel's own default.
        _ => 32_768..=60_999,
    }
}

fn read(mut table: impl BufRead, protocol: Protocol, listeners: &mut Vec<Listener>) -> io::Result<()> {
    let mut text = String::new();
    // The table's head.
    table.read_line(&mut text)?;
    loop {
        text.clear();
        if table.read_line(&mut text)? == 0 {
            return Ok(());
        }
        match line(&text, protocol) {
            Some(listener) => listeners.push(listener),
            // The first one that is connected.
            None if protocol == Protocol::Tcp => return Ok(()),
            None => {}
        }
    }
}

/// `0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 12345 …`
fn line(text: &str, protocol: Protocol) -> Option<Listener> {
    let mut words = text.split_whitespace().skip(1);
    let (own, far, state, inode) = (words.next()?, words.next()?, words.next()?, words.nth(5)?);
    let listens = match protocol {
        Protocol::Tcp => state == LISTENS,
        Protocol::Udp => state == UNCONNECTED && far.ends_with(":0000"),
    };
    let (address, port) = own.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok().filter(|port| listens && *port != 0)?;
    Some(Listener { protocol, address: parse_address(address)?, port, inode: inode.parse().ok()? })
}

/// Words of four bytes, each as this processor has it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (number, bytes) in bytes.chunks_exact_mut(4).enumerate() {
                bytes.copy_from_slice(&word(number * 8)?);
            }
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// A socket for datagrams with one of `clients`' ports is a client's, which looks the same: it has none of the
/// computer's. Nor has what only the machine's own loopback reaches.
fn choose(listeners: &[Listener], own: &HashSet<u64>, clients: &RangeInclusive<u16>) -> Vec<ShownPort> {
    let mut ports: BTreeMap<(u16, Protocol), Target> = BTreeMap::new();
    for listener in listeners {
        let Listener { protocol, address, port, inode } = *listener;
        let is_client = protocol == Protocol::Udp && clients.contains(&port);
        if is_client || own.contains(&inode) || address.is_loopback() {
            continue;
        }
        let target = ports.entry((port, protocol)).or_insert(Target { v4: None, v6: None });
        match address {
            IpAddr::V4(address) if address.is_unspecified() => target.v4 = Some(GUEST_V4),
            IpAddr::V4(address) => target.v4 = target.v4.or(Some(address)),
            // It takes IPv4 as well, unless its program has forbidden that, which is not to be seen here.
            IpAddr::V6(address) if address.is_unspecified() => {
                (target.v4, target.v6) = (target.v4.or(Some(GUEST_V4)), Some(GUEST_V6));
            }
            IpAddr::V6(address) => target.v6 = target.v6.or(Some(address)),
        }
    }
    let shown = |((port, protocol), target)| ShownPort { protocol, port, target };
    ports.into_iter().map(shown).take(MOST_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

    /// As the kernel writes an address.
    fn hex(address: &str) -> String {
        let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes(bytes.try_into().unwrap()));
        match address.parse().unwrap() {
            IpAddr::V4(address) => word(&address.octets()),
            IpAddr::V6(address) => address.octets().chunks(4).map(word).collect(),
        }
    }

    fn row(address: &str, port: u16, state: &str, inode: u64) -> String {
        let none = "0".repeat(hex(address).len());
        format!(
            "   0: {}:{port:04X} {none}:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0\n",
            hex(address)
        )
    }

    fn tables(protocol: Protocol, rows: &[String]) -> Vec<Listener> {
        let mut listeners = Vec::new();
        read([HEAD, &rows.concat()].concat().as_bytes(), protocol, &mut listeners).unwrap();
        listeners
    }

    fn chosen(listeners: &[Listener]) -> Vec<(u16, Option<String>, Option<String>)> {
        let ports = choose(listeners, &HashSet::from([99]), &(32_768..=60_999));
        let text = |port: ShownPort| {
            (port.port, port.target.v4.map(|a| a.to_string()), port.target.v6.map(|a| a.to_string()))
        };
        ports.into_iter().map(text).collect()
    }

    #[test]
    fn the_kernels_words_are_read() {
        let text = "   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0";
        let found = line(text, Protocol::Tcp).unwrap();
        assert_eq!((found.address, found.port, found.inode), ([0, 0, 0, 0].into(), 8080, 4711));
        for text in ["", "1:", "1: 00:1F90 0:0000 0A x x x x x 7", "1: 00000000 0:0000 0A x x x x x 7"] {
            assert_eq!(line(text, Protocol::Tcp), None, "{text}");
        }
        for address in ["192.168.65.3", "fd00::7", "::1"] {
            assert_eq!(parse_address(&hex(address)), Some(address.parse().unwrap()));
        }
    }

    #[test]
    fn what_is_connected_is_not_read_further() {
        let rows =
            [row("0.0.0.0", 80, LISTENS, 1), row("10.0.0.1", 81, "01", 2), row("0.0.0.0", 82, "ZZ", 3)];
        assert_eq!(tables(Protocol::Tcp, &rows).len(), 1);
        let connected = "0: 00000000:0035 0100007F:0035 07 0:0 0:0 0 0 0 5 1\n".to_owned();
        let rows = [connected, row("0.0.0.0", 53, UNCONNECTED, 6)];
        assert_eq!(tables(Protocol::Udp, &rows).len(), 1);
    }

    #[test]
    fn all_addresses_are_the_machines_and_one_is_itself() {
        let rows = [
            row("172.17.0.1", 81, LISTENS, 2),
            row("0.0.0.0", 80, LISTENS, 1),
            row("::", 82, LISTENS, 3),
            row("fd00::1", 83, LISTENS, 4),
        ];
        let (v4, v6) = ("192.168.65.3".to_owned(), "fdc4:f303:9324::3".to_owned());
        assert_eq!(
            chosen(&tables(Protocol::Tcp, &rows)),
            [
                (80, Some(v4.clone()), None),
                (81, Some("172.17.0.1".to_owned()), None),
                (82, Some(v4), Some(v6)),
                (83, None, Some("fd00::1".to_owned())),
            ]
        );
    }

    #[test]
    fn our_own_the_loopbacks_and_clients_are_not_shown() {
        let rows =
            [row("0.0.0.0", 80, LISTENS, 99), row("127.0.0.1", 81, LISTENS, 1), row("::1", 82, LISTENS, 2)];
        assert_eq!(chosen(&tables(Protocol::Tcp, &rows)), []);
        let rows = [row("0.0.0.0", 40_000, UNCONNECTED, 1), row("0.0.0.0", 53, UNCONNECTED, 2)];
        let ports: Vec<_> = chosen(&tables(Protocol::Udp, &rows)).iter().map(|port| port.0).collect();
        assert_eq!(ports, [53]);
    }

    #[test]
    fn no_more_are_shown_than_the_host_takes() {
        let rows: Vec<_> = (1..=MOST_SHOWN as u16 + 5).map(|port| row("::", port, LISTENS, 1)).collect();
        assert_eq!(chosen(&tables(Protocol::Tcp, &rows)).len(), MOST_SHOWN);
    }

    #[test]
    fn a_range_that_cannot_be_read_is_the_kernels_own() {
        assert_eq!(clients_range("1024\t2048\n"), 1_024..=2_048);
        assert_eq!(clients_range(""), 32_768..=60_999);
    }

    #[test]
    fn a_program_does_not_show_what_it_listens_on_itself() {
        let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(shown_ports().unwrap().iter().all(|shown| shown.port != port));
    }
}
