//! What this host lets containers have. In a machine of ours that is everything; where `holmd` is a process of
//! somebody else's host, limits that cannot be set are left out with a warning instead of failing every start.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use nix::sys::resource::getrlimit;

use super::capabilities::NAMES;
use super::rlimits;

/// What can be asked of this host. Probed once, when the engine starts.
#[derive(Clone, Debug)]
pub struct HostAbilities {
    /// Controllers that containers' cgroups get.
    pub controllers: BTreeSet<String>,
    /// Capabilities that can be given, by their names (`CAP_CHOWN`).
    pub capabilities: BTreeSet<&'static str>,
    /// The limits that only `CAP_SYS_RESOURCE` could raise, by Docker's names (`nofile`).
    pub hard_limits: BTreeMap<&'static str, u64>,
    /// The lowest `oom_score_adj` that can be set without `CAP_SYS_RESOURCE`.
    pub lowest_oom_score: i64,
    /// The kernel knows swap, so that it can be limited.
    pub swap: bool,
    /// Disks can be shared by weight.
    pub disk_weight: bool,
    /// What is read and written a second can be limited.
    pub disk_rates: bool,
    /// Processors.
    pub cpus: usize,
    /// Those that a container can be kept to, as the kernel lists them: `0-3,7`.
    pub processors: String,
    /// Likewise memory nodes.
    pub memory_nodes: String,
    /// The kernel's version and revision.
    pub kernel: (u64, u64),
}

impl HostAbilities {
    /// Looks at this process and its cgroup hierarchy, which must be mounted.
    pub fn probe() -> io::Result<Self> {
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
        let status = fs::read_to_string("/proc/self/status")?;
        let score = fs::read_to_string("/proc/self/oom_score_adj")?;
        let hard_limits =
            rlimits::TYPES.iter().map(|(name, _, resource)| Ok((*name, getrlimit(*resource)?.1)));
        Ok(Self {
            controllers: controllers.split_whitespace().map(str::to_owned).collect(),
            capabilities: capabilities(&status),
            hard_limits: hard_limits.collect::<io::Result<_>>()?,
            lowest_oom_score: score.trim().parse().map_err(io::Error::other)?,
            swap: fs::exists("/proc/swaps")?,
            disk_weight: offers("io.weight") || offers("io.bfq.weight"),
            disk_rates: offers("io.max"),
            cpus: std::thread::available_parallelism()?.get(),
            processors: list("cpuset.cpus.effective"),
            memory_nodes: list("cpuset.mems.effective"),
            kernel: kernel(&rustix::system::uname().release().to_string_lossy()),
        })
    }

    /// Whether containers' cgroups have this controller.
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.contains(controller)
    }

    /// Whether limits can be raised.
    pub fn may_raise_limits(&self) -> bool {
        self.capabilities.contains("CAP_SYS_RESOURCE")
    }
}

/// A list of the cgroup that is above all others; empty without the controller.
fn list(file: &str) -> String {
    let text = fs::read_to_string(Path::new("/sys/fs/cgroup").join(file)).unwrap_or_default();
    text.trim().to_owned()
}

/// Version and revision; what follows them is the distribution's. 0 for what is no number.
fn kernel(release: &str) -> (u64, u64) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|text| text.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Whether containers' cgroups have this file, by the one that is above them.
fn offers(file: &str) -> bool {
    Path::new("/sys/fs/cgroup/docker").join(file).exists()
}

/// Those that are both effective and in the bounding set (proc(5), `CapEff` and `CapBnd`).
fn capabilities(status: &str) -> BTreeSet<&'static str> {
    let set = |name: &str| {
        let digits = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
        u64::from_str_radix(digits.trim(), 16).unwrap_or(0)
    };
    let both = set("CapEff:") & set("CapBnd:");
    NAMES.iter().enumerate().filter(|(bit, _)| both >> bit & 1 == 1).map(|(_, name)| *name).collect()
}

#[cfg(test)]
impl HostAbilities {
    /// A host that lets everything be done.
    pub(crate) fn unlimited() -> Self {
        let controllers = ["cpu", "cpuset", "io", "memory", "pids"];
        Self {
            controllers: controllers.map(str::to_owned).into(),
            capabilities: NAMES.into(),
            hard_limits: BTreeMap::new(),
            lowest_oom_score: 0,
            swap: true,
            disk_weight: true,
            disk_rates: true,
            cpus: 4,
            processors: "0-3".to_owned(),
            memory_nodes: "0".to_owned(),
            kernel: (6, 12),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_is_known_by_its_first_two_numbers() {
        assert_eq!(kernel("6.1.0-42-cloud-amd64"), (6, 1));
        assert_eq!(kernel("5.15-rc3"), (5, 15));
        assert_eq!(kernel("unknown"), (0, 0));
    }

    #[test]
    fn a_capability_counts_where_it_is_effective_and_bounding() {
        let found = capabilities("Name:\tx\nCapEff:\t0000000000000003\nCapBnd:\t000001fffeffffff\n");
        assert_eq!(found, BTreeSet::from(["CAP_CHOWN", "CAP_DAC_OVERRIDE"]));
        assert!(
            !capabilities("CapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff")
                .contains("CAP_SYS_RESOURCE")
        );
    }
}
