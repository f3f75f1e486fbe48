//! The containers on the screen and their last figures.

use super::figures::{Figures, Reading};
use crate::cli::output::rows::{Column, Row};
use crate::cli::output::table::short_id;
use crate::cli::output::units;

/// What a table of figures can show.
pub(super) const COLUMNS: [Column; 9] = [
    ("Container", "CONTAINER"),
    ("Name", "NAME"),
    ("ID", "CONTAINER ID"),
    ("CPUPerc", "CPU %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("MemPerc", "MEM %"),
    ("NetIO", "NET I/O"),
    ("BlockIO", "BLOCK I/O"),
    ("PIDs", "PIDS"),
];
const NOT_KNOWN: &str = "--";

/// Containers in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Board {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// As it was asked for.
    container: String,
    name: String,
    id: String,
    figures: Option<Figures>,
    /// Something came, if only that there is nothing.
    answered: bool,
}

impl Board {
    /// Takes a container on; `false` where it is on already.
    pub(super) fn add(&mut self, container: &str) -> bool {
        if self.entries.iter().any(|entry| entry.container == container) {
            return false;
        }
        self.entries.push(Entry {
            container: container.to_owned(),
            name: String::new(),
            id: String::new(),
            figures: None,
            answered: false,
        });
        true
    }

    /// Takes a container off.
    pub(super) fn remove(&mut self, container: &str) {
        self.entries.retain(|entry| entry.container != container);
    }

    /// Sets a container's figures.
    pub(super) fn set(&mut self, container: &str, reading: &Reading) {
        if let Some(entry) = self.entry(container) {
            entry.name = reading.name.trim_start_matches('/').to_owned();
            entry.id.clone_from(&reading.id);
            entry.figures = Some(reading.figures());
            entry.answered = true;
        }
    }

    /// Forgets a container's figures, which are old.
    pub(super) fn lose(&mut self, container: &str) {
        if let Some(entry) = self.entry(container) {
            entry.figures = None;
            entry.answered = true;
        }
    }

    fn entry(&mut self, container: &str) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.container == container)
    }

    /// Whether every container has answered at least once, so that a table has no gaps.
    pub(super) fn is_complete(&self) -> bool {
        self.entries.iter().all(|entry| entry.answered)
    }

    /// A line each.
    pub(super) fn rows(&self, truncated: bool) -> Vec<Row> {
        self.entries.iter().map(|entry| entry.row(truncated)).collect()
    }
}

impl Entry {
    fn row(&self, truncated: bool) -> Row {
        let size = |bytes: u64| units::size(i64::try_from(bytes).unwrap_or(i64::MAX));
        let shown = |show: &dyn Fn(&Figures) -> String| self.figures.as_ref().map_or(NOT_KNOWN.into(), show);
        let memory = |figures: &Figures| {
            let limit = units::binary_size(figures.memory_limit);
            format!("{} / {limit}", units::binary_size(figures.memory))
        };
        Row::default()
            .with("Container", self.container.as_str())
            .with("Name", if self.name.is_empty() { NOT_KNOWN } else { &self.name })
            .with("ID", if truncated { short_id(&self.id) } else { &self.id })
            .with("CPUPerc", shown(&|figures| format!("{:.2}%", figures.cpu_percent)))
            .with("MemUsage", self.figures.as_ref().map_or("-- / --".to_owned(), memory))
            .with("MemPerc", shown(&|figures| format!("{:.2}%", figures.memory_percent)))
            .with("NetIO", shown(&|figures| format!("{} / {}", size(figures.received), size(figures.sent))))
            .with("BlockIO", shown(&|figures| format!("{} / {}", size(figures.read), size(figures.written))))
            .with("PIDs", shown(&|figures| figures.processes.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::rows::Format;

    /// Recorded from Docker's command line, version 28.2.
    #[test]
    fn the_table_is_dockers() {
        let mut board = Board::default();
        board.add("web");
        let reading = serde_json::from_value(serde_json::json!({
            "id": "1".repeat(64), "name": "/web", "pids_stats": {"current": 3},
            "blkio_stats": {"io_service_bytes_recursive": [
                {"op": "Read", "value": 1_234_567}, {"op": "Write", "value": 4096}, {"op": "read", "value": 1},
            ]},
            "cpu_stats": {"cpu_usage": {"total_usage": 51_000_000}, "system_cpu_usage": 2_000_000_000, "online_cpus": 4},
            "precpu_stats": {"cpu_usage": {"total_usage": 1_000_000}, "system_cpu_usage": 1_000_000_000},
            "memory_stats": {"usage": 12_582_912, "limit": 1_073_741_824, "stats": {"inactive_file": 4_194_304}},
            "networks": {"eth0": {"rx_bytes": 1090, "tx_bytes": 0}, "eth1": {"rx_bytes": 1_000_000, "tx_bytes": 5}},
        }));
        board.set("web", &reading.unwrap());
        let format = Format::parse("", super::super::TABLE).unwrap();
        assert_eq!(
            format.render(&COLUMNS, &board.rows(true)).unwrap(),
            "CONTAINER ID   NAME      CPU %     MEM USAGE / LIMIT   MEM %     NET I/O    BLOCK I/O        PIDS\n\
             111111111111   web       20.00%    8MiB / 1GiB         0.78%     1MB / 5B   1.23MB / 4.1kB   3\n"
        );
    }

    #[test]
    fn a_container_that_says_nothing_has_dashes() {
        let mut board = Board::default();
        assert!(board.add("a"));
        assert!(!board.add("a"));
        assert!(!board.is_complete());
        board.lose("a");
        assert!(board.is_complete());
        let format = Format::parse("{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}", "").unwrap();
        assert_eq!(format.render(&COLUMNS, &board.rows(true)).unwrap(), "-- -- -- / -- --\n");
        board.remove("a");
        assert_eq!(board.rows(true), []);
    }
}
