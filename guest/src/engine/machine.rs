//! What the engine tells about the machine it runs in: kernel, processors, memory, name.

use std::fs;

/// Read once: none of it changes while the engine runs.
#[derive(Clone, Debug)]
pub(crate) struct MachineFacts {
    kernel: String,
    hostname: String,
    processors: usize,
    memory: u64,
    hypervisor: String,
}

impl MachineFacts {
    /// Asks the kernel. `hypervisor` is what the host calls this kind of machine.
    pub(crate) fn read(hypervisor: String) -> Self {
        let uname = rustix::system::uname();
        Self {
            kernel: uname.release().to_string_lossy().into_owned(),
            hostname: uname.nodename().to_string_lossy().into_owned(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(0),
            hypervisor,
        }
    }

    /// `uname -r`.
    pub(crate) fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The machine's name.
    pub(crate) fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Processors that containers can use.
    pub(crate) fn processors(&self) -> usize {
        self.processors
    }

    /// Bytes of memory; 0 where `/proc` does not tell.
    pub(crate) fn memory(&self) -> u64 {
        self.memory
    }

    /// `qemu`, `process`, …
    pub(crate) fn hypervisor(&self) -> &str {
        &self.hypervisor
    }
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_bytes() {
        assert_eq!(total("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16_777_216));
        assert_eq!(total(""), None);
    }
}
