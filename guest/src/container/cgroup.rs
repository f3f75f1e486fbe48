//! A container's cgroup (cgroup v2): where it is, and holding all of its processes still.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use holm_api::ContainerId;
use holm_api::models::HostConfig;
use tokio::time::{Instant, sleep};

/// Where the hierarchy is mounted, as libcontainer takes for granted.
const ROOT: &str = "/sys/fs/cgroup";
/// Where containers' cgroups are, unless `CgroupParent` says otherwise.
const PARENT: &str = "docker";
/// How long the kernel may take to hold a container still: a process that waits for a disk is not held before that.
const FREEZE_DEADLINE: Duration = Duration::from_secs(10);
const FIRST_LOOK: Duration = Duration::from_micros(200);
const SELDOM: Duration = Duration::from_millis(50);

/// A container's place in the hierarchy.
pub fn path(host: &HostConfig, id: &ContainerId) -> PathBuf {
    let parent = host.cgroup_parent.as_deref().filter(|parent| !parent.is_empty()).unwrap_or(PARENT);
    let mut path = PathBuf::from("/");
    // No way out of the hierarchy by a parent with dots.
    path.extend(Path::new(parent).components().filter(|part| matches!(part, Component::Normal(_))));
    path.join(id.as_str())
}

/// Its folder, which exists while it runs.
pub fn folder(host: &HostConfig, id: &ContainerId) -> PathBuf {
    let path = path(host, id);
    Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(&path))
}

/// Returns when every process in the cgroup stands still. Where that does not happen in time, all go on.
pub async fn freeze(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.freeze"), "1")?;
    let deadline = Instant::now() + FREEZE_DEADLINE;
    let mut pause = FIRST_LOOK;
    loop {
        if says_frozen(&fs::read_to_string(folder.join("cgroup.events"))?) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            thaw(folder)?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "unable to freeze"));
        }
        // The kernel tells watchers of this file, but mostly it is done before a watch could be set up.
        sleep(pause).await;
        pause = (pause * 2).min(SELDOM);
    }
}

/// Lets them go on.
pub fn thaw(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.freeze"), "0")
}

/// Whether they stand still now.
pub fn is_frozen(folder: &Path) -> bool {
    fs::read_to_string(folder.join("cgroup.events")).is_ok_and(|events| says_frozen(&events))
}

fn says_frozen(events: &str) -> bool {
    events.lines().any(|line| line == "frozen 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_parent_leads_nowhere_else() {
        let id: ContainerId = "0123456789abcdef".repeat(4).parse().unwrap();
        let parent = |parent: &str| {
            let host = HostConfig { cgroup_parent: Some(parent.into()), ..Default::default() };
            folder(&host, &id).parent().unwrap().display().to_string()
        };
        assert_eq!(parent("../../x/.."), "/sys/fs/cgroup/x");
        assert_eq!(parent(""), "/sys/fs/cgroup/docker");
    }

    #[test]
    fn the_kernel_says_when_all_stand_still() {
        assert!(says_frozen("populated 1\nfrozen 1\n"));
        assert!(!says_frozen("populated 1\nfrozen 0\n"));
    }
}
