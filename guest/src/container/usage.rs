//! What a container uses, from the files of its cgroup (Documentation/admin-guide/cgroup-v2.rst). A controller that
//! this host does not have leaves its part out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// At one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of processors.
    pub cpu: CpuUsage,
    /// Of memory.
    pub memory: Option<MemoryUsage>,
    /// Of process ids.
    pub pids: Option<PidsUsage>,
    /// Of each disk.
    pub disks: Vec<DiskUsage>,
}

/// Time of processors, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuUsage {
    /// All of it.
    pub total: u64,
    /// Outside of the kernel.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods that a quota was counted in.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// How long it had to wait then.
    pub throttled: u64,
}

/// Bytes of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryUsage {
    /// All of it.
    pub bytes: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
    /// How often it ran out.
    pub failures: u64,
    /// The kernel's own account.
    pub account: BTreeMap<String, u64>,
}

/// Process ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PidsUsage {
    /// In use.
    pub number: u64,
    /// `None` is no limit.
    pub limit: Option<u64>,
}

/// Bytes from and to one disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Its number.
    pub major: u64,
    /// Likewise.
    pub minor: u64,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// Reads them. An error says that there is no such cgroup: the container does not run.
pub fn read(folder: &Path) -> io::Result<Usage> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| text(name)?.trim().parse::<u64>().ok();
    let memory = number("memory.current").map(|bytes| MemoryUsage {
        bytes,
        limit: number("memory.max"),
        failures: flat(&text("memory.events").unwrap_or_default()).get("oom").copied().unwrap_or(0),
        account: flat(&text("memory.stat").unwrap_or_default()),
    });
    Ok(Usage {
        // There is always one, whatever the controllers.
        cpu: cpu(&fs::read_to_string(folder.join("cpu.stat"))?),
        memory,
        pids: number("pids.current").map(|in_use| PidsUsage { number: in_use, limit: number("pids.max") }),
        disks: text("io.stat").unwrap_or_default().lines().filter_map(disk).collect(),
    })
}

fn cpu(text: &str) -> CpuUsage {
    let values = flat(text);
    let value = |name: &str| values.get(name).copied().unwrap_or(0);
    CpuUsage {
        total: value("usage_usec"),
        user: value("user_usec"),
        system: value("system_usec"),
        periods: value("nr_periods"),
        throttled_periods: value("nr_throttled"),
        throttled: value("throttled_usec"),
    }
}

/// A name and a number a line.
fn flat(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`. A disk that was not touched has a line without numbers.
fn disk(line: &str) -> Option<DiskUsage> {
    let mut words = line.split_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut disk =
        DiskUsage { major: major.parse().ok()?, minor: minor.parse().ok()?, ..DiskUsage::default() };
    let mut touched = false;
    for (name, value) in words.filter_map(|word| word.split_once('=')) {
        touched = true;
        match name {
            "rbytes" => disk.read = value.parse().ok()?,
            "wbytes" => disk.written = value.parse().ok()?,
            _ => {}
        }
    }
    touched.then_some(disk)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
        folder
    }

    #[test]
    fn a_cgroup_tells_what_is_used() {
        let folder = cgroup(&[
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 3\nnr_throttled 2\nthrottled_usec 1\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "max\n"),
            ("memory.events", "low 0\noom 5\noom_kill 1\n"),
            ("memory.stat", "anon 1024\ninactive_file 512\n"),
            ("pids.current", "2\n"),
            ("pids.max", "77\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3\n7:0 \n8:16 wbytes=9\n"),
        ]);
        let usage = read(folder.path()).unwrap();
        let cpu =
            CpuUsage { total: 30, user: 20, system: 10, periods: 3, throttled_periods: 2, throttled: 1 };
        assert_eq!(usage.cpu, cpu);
        let memory = usage.memory.unwrap();
        assert_eq!(
            (memory.bytes, memory.limit, memory.failures, memory.account["anon"]),
            (4096, None, 5, 1024)
        );
        assert_eq!(usage.pids, Some(PidsUsage { number: 2, limit: Some(77) }));
        let disks = [
            DiskUsage { major: 8, minor: 0, read: 1, written: 2 },
            DiskUsage { major: 8, minor: 16, read: 0, written: 9 },
        ];
        assert_eq!(usage.disks, disks);
    }

    #[test]
    fn what_has_no_controller_is_left_out_and_without_a_cgroup_there_is_nothing() {
        let usage = read(cgroup(&[("cpu.stat", "usage_usec 1\n")]).path()).unwrap();
        assert_eq!((usage.memory, usage.pids, usage.disks.len()), (None, None, 0));
        assert!(read(&cgroup(&[]).path().join("gone")).is_err());
    }
}
