//! A container's cgroup (cgroup v2): where it is.

use std::path::{Component, Path, PathBuf};

use holm_api::ContainerId;
use holm_api::models::HostConfig;

/// Where the hierarchy is mounted, as libcontainer takes for granted.
const ROOT: &str = "/sys/fs/cgroup";
/// Where containers' cgroups are, unless `CgroupParent` says otherwise.
const PARENT: &str = "docker";
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
}
