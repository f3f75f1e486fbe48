//! What a container uses, calculated from two readings of the engine's counters as Docker does.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A reading, with the one before it for the processors. Counters that the engine leaves out are zero.
#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) id: String,
    cpu_stats: Processors,
    precpu_stats: Processors,
    memory_stats: Memory,
    networks: Option<BTreeMap<String, Network>>,
    blkio_stats: Blocks,
    pids_stats: Pids,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Processors {
    cpu_usage: Usage,
    system_cpu_usage: u64,
    online_cpus: u32,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Usage {
    total_usage: u64,
    percpu_usage: Option<Vec<u64>>,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: Option<BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Network {
    rx_bytes: u64,
    tx_bytes: u64,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Blocks {
    io_service_bytes_recursive: Option<Vec<BlockEntry>>,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct BlockEntry {
    op: String,
    value: u64,
}

#[derive(Clone, Debug, Deserialize, Default)]
#[serde(default)]
struct Pids {
    current: u64,
}

/// What people see of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    /// Of one processor: two busy ones are 200.
    pub(super) cpu_percent: f64,
    /// Bytes in use, without files that the kernel could forget at once.
    pub(super) memory: u64,
    pub(super) memory_limit: u64,
    pub(super) memory_percent: f64,
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) processes: u64,
}

impl Reading {
    pub(super) fn figures(&self) -> Figures {
        let memory = self.memory_stats.in_use();
        let limit = self.memory_stats.limit;
        let networks = || self.networks.iter().flatten().map(|(_, network)| network);
        Figures {
            cpu_percent: self.cpu_percent(),
            memory,
            memory_limit: limit,
            memory_percent: if limit == 0 { 0.0 } else { memory as f64 / limit as f64 * 100.0 },
            received: networks().map(|network| network.rx_bytes).fold(0, u64::saturating_add),
            sent: networks().map(|network| network.tx_bytes).fold(0, u64::saturating_add),
            read: self.blkio_stats.bytes('r'),
            written: self.blkio_stats.bytes('w'),
            processes: self.pids_stats.current,
        }
    }

    fn cpu_percent(&self) -> f64 {
        let (now, before) = (&self.cpu_stats, &self.precpu_stats);
        let container = now.cpu_usage.total_usage as f64 - before.cpu_usage.total_usage as f64;
        let system = now.system_cpu_usage as f64 - before.system_cpu_usage as f64;
        let processors = match now.online_cpus {
            // Engines before 1.13 say only how long each was busy.
            0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as f64,
            count => f64::from(count),
        };
        if container > 0.0 && system > 0.0 { container / system * processors * 100.0 } else { 0.0 }
    }
}

impl Memory {
    fn in_use(&self) -> u64 {
        let stat = |name| self.stats.as_ref().and_then(|stats| stats.get(name)).copied();
        // The first is cgroup v1's.
        for inactive in [stat("total_inactive_file"), Some(stat("inactive_file").unwrap_or(0))] {
            match inactive {
                Some(inactive) if inactive < self.usage => return self.usage - inactive,
                _ => {}
            }
        }
        self.usage
    }
}

impl Blocks {
    fn bytes(&self, direction: char) -> u64 {
        let entries = self.io_service_bytes_recursive.iter().flatten();
        let own = entries.filter(|entry| entry.op.to_ascii_lowercase().starts_with(direction));
        own.map(|entry| entry.value).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(json: serde_json::Value) -> Figures {
        serde_json::from_value::<Reading>(json).unwrap().figures()
    }

    #[test]
    fn a_busy_processor_of_four_is_a_hundred_percent() {
        let figures = figures(serde_json::json!({
            "cpu_stats": {"cpu_usage": {"total_usage": 1_250}, "system_cpu_usage": 2_000, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 1_000}, "system_cpu_usage": 1_000},
        }));
        assert_eq!(figures.cpu_percent, 100.0);
    }

    #[test]
    fn files_that_can_be_forgotten_are_no_memory_in_use() {
        let used = |stats: serde_json::Value| {
            figures(serde_json::json!({"memory_stats": {"usage": 100, "limit": 200, "stats": stats}})).memory
        };
        assert_eq!(used(serde_json::json!({"inactive_file": 40})), 60);
        assert_eq!(used(serde_json::json!({"total_inactive_file": 30, "inactive_file": 40})), 70);
        assert_eq!(used(serde_json::json!({"inactive_file": 140})), 100);
        assert_eq!(used(serde_json::json!(null)), 100);
    }

    #[test]
    fn a_container_that_does_not_run_has_zeros() {
        let figures = figures(serde_json::json!({"name": "/x", "id": "1"}));
        assert_eq!((figures.cpu_percent, figures.memory_percent, figures.processes), (0.0, 0.0, 0));
    }

    #[test]
    fn disks_and_networks_are_added_up() {
        let figures = figures(serde_json::json!({
            "networks": {"eth0": {"rx_bytes": 1, "tx_bytes": 2}, "eth1": {"rx_bytes": 10, "tx_bytes": 20}},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 5}, {"op": "read", "value": 6}, {"op": "write", "value": 7},
                {"op": "", "value": 9},
            ]},
        }));
        assert_eq!((figures.received, figures.sent), (11, 22));
        assert_eq!((figures.read, figures.written), (11, 7));
    }
}
