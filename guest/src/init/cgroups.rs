//! The cgroup v2 hierarchy (Documentation/admin-guide/cgroup-v2.rst): all of it in a machine, the part below our
//! own cgroup in a process.
//!
//! ```text
//!   /sys/fs/cgroup     every controller handed down
//!     ├─ init          this process: a cgroup that hands controllers down may hold none itself
//!     ├─ engine        the engine and the shims
//!     └─ docker/<id>   a container
//! ```

use std::fs;
use std::io;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::boot::{Boot, BootError, failed};

const ROOT: &str = "/sys/fs/cgroup";
/// Where the engine and all its descendants but containers go.
pub(super) const ENGINE: &str = "engine";
/// Parent of the containers' cgroups.
const CONTAINERS: &str = "docker";

/// Controllers that the limits of `docker run` need, and what is missing without them.
const NEEDED: [(&str, &str); 5] = [
    ("cpu", "CPU shares and quotas"),
    ("cpuset", "restrictions to certain processors"),
    ("io", "disk limits"),
    ("memory", "memory limits and statistics"),
    ("pids", "limits of the number of processes"),
];

/// Mounts the hierarchy, moves this process to its leaf and hands the controllers down.
pub(super) fn set_up(boot: &mut Boot) -> Result<(), BootError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("cgroup2", ROOT, "cgroup2", flags, c"nsdelegate")
        .map_err(failed(format!("mount cgroup2 on {ROOT}")))?;
    let root = Path::new(ROOT);
    let leaves = || -> io::Result<()> {
        for leaf in ["init", ENGINE, CONTAINERS] {
            fs::create_dir_all(root.join(leaf))?;
        }
        fs::write(root.join("init/cgroup.procs"), "0")
    };
    leaves().map_err(failed("make the cgroups"))?;
    let handed_down = hand_down(root).map_err(failed("hand the cgroup controllers down"))?;
    hand_down(&root.join(CONTAINERS)).map_err(failed("hand the cgroup controllers down"))?;
    boot.warnings.extend(missing(&handed_down));
    Ok(())
}

/// Moves a process, and all of its threads, to a cgroup.
pub(super) fn enter(cgroup: &str, pid: u32) -> io::Result<()> {
    fs::write(Path::new(ROOT).join(cgroup).join("cgroup.procs"), pid.to_string())
}

/// Hands every controller that is there to the cgroups below, and tells which those are.
fn hand_down(cgroup: &Path) -> io::Result<Vec<String>> {
    let offered = fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    let control = cgroup.join("cgroup.subtree_control");
    let all: Vec<_> = offered.split_whitespace().map(|controller| format!("+{controller}")).collect();
    // All at once, because the kernel waits for every processor at each write, which a boot can do without. Where
    // one cannot be handed down, as `cpu` beside realtime processes, it refuses them all.
    if fs::write(&control, all.join(" ")).is_err() {
        for controller in &all {
            if let Err(error) = fs::write(&control, controller) {
                tracing::warn!(%error, "a cgroup controller cannot be handed down: {controller}");
            }
        }
    }
    let handed_down = fs::read_to_string(&control)?;
    Ok(handed_down.split_whitespace().map(str::to_owned).collect())
}

fn missing(handed_down: &[String]) -> impl Iterator<Item = String> {
    NEEDED.into_iter().filter(|(controller, _)| !handed_down.iter().any(|had| had == controller)).map(
        |(controller, purpose)| format!("no cgroup v2 controller `{controller}` here: {purpose} do not work"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_controller_is_a_warning_that_names_what_is_lost() {
        let had = ["cpu", "io", "pids", "hugetlb"].map(String::from);
        let warnings: Vec<_> = missing(&had).collect();
        assert_eq!(
            warnings,
            [
                "no cgroup v2 controller `cpuset` here: restrictions to certain processors do not work",
                "no cgroup v2 controller `memory` here: memory limits and statistics do not work",
            ]
        );
        let all = NEEDED.map(|(controller, _)| controller.to_owned());
        assert_eq!(missing(&all).count(), 0);
    }
}
