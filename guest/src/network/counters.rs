//! What went through a container's interfaces, from its view of `/proc/net/dev` (proc(5)).

use std::fs;
use std::io;

/// Of one interface, since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `eth0`
    pub interface: String,
    /// What came.
    pub received: Traffic,
    /// What went.
    pub sent: Traffic,
}

/// In one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of it.
    pub bytes: u64,
    /// Packets of it.
    pub packets: u64,
    /// Broken ones.
    pub errors: u64,
    /// Those that were thrown away.
    pub dropped: u64,
}

/// Of all interfaces but the loopback, as the process `pid` sees them.
pub fn counters(pid: i32) -> io::Result<Vec<Counters>> {
    Ok(parse(&fs::read_to_string(format!("/proc/{pid}/net/dev"))?))
}

fn parse(text: &str) -> Vec<Counters> {
    // Two lines are the table's head.
    text.lines().skip(2).filter_map(line).filter(|counters| counters.interface != "lo").collect()
}

fn line(line: &str) -> Option<Counters> {
    let (interface, numbers) = line.split_once(':')?;
    let numbers: Vec<u64> = numbers.split_whitespace().map_while(|number| number.parse().ok()).collect();
    let traffic = |from: usize| {
        let [bytes, packets, errors, dropped] = *numbers.get(from..from + 4)? else { return None };
        Some(Traffic { bytes, packets, errors, dropped })
    };
    Some(Counters { interface: interface.trim().to_owned(), received: traffic(0)?, sent: traffic(8)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_counted_but_not_the_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  \
                    eth0: 100 2 3 4 0 0 0 0 500 6 7 8 0 0 0 0\n";
        let eth0 = Counters {
            interface: "eth0".into(),
            received: Traffic { bytes: 100, packets: 2, errors: 3, dropped: 4 },
            sent: Traffic { bytes: 500, packets: 6, errors: 7, dropped: 8 },
        };
        assert_eq!(parse(text), [eth0]);
        assert!(parse("\n\neth0: 1 2 3\n").is_empty());
    }
}
