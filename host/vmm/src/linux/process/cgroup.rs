//! The cgroup of a process machine: its own, in the v2 hierarchy, found again by its name.
//!
//! On a host where most controllers are bound to v1 hierarchies, the v2 one is mounted beside them with few or none;
//! freezing and killing work there all the same.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// rmdir is tried this often before the cgroup is left to the next start.
const TRIES: u32 = 100;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// A cgroup of ours. Dropped, it kills what is in it and is removed with all cgroups below.
pub(super) struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, cgroup = %self.0.display(), "a machine's cgroup cannot be removed");
        }
    }
}

impl Cgroup {
    /// Makes the cgroup of the machine in `run`, with all controllers that this host has in v2 offered to it.
    pub(super) fn make(run: &Path) -> io::Result<Self> {
        let root = hierarchy()?;
        offer_controllers(&root);
        let path = path_for(&root, run)?;
        match fs::create_dir(&path) {
            Ok(()) => {}
            // An earlier one that could not be removed, and is empty: else its processes would hold the disk's lock.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        Ok(Self(path))
    }

    /// The folder, for clone3(2).
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(File::open(&self.0)?.into())
    }

    /// Whether there is one for the machine in `run`.
    #[cfg(test)]
    pub(super) fn exists(run: &Path) -> io::Result<bool> {
        Ok(path_for(&hierarchy()?, run)?.exists())
    }

    /// Where the one of an earlier daemon is, if there is one.
    pub(super) fn of_leftover(run: &Path) -> io::Result<Option<PathBuf>> {
        match hierarchy().and_then(|root| path_for(&root, run)) {
            Ok(path) => Ok(Some(path).filter(|path| path.exists())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the one of an earlier daemon. Does nothing where there is none.
    pub(super) fn remove_leftover(run: &Path) -> io::Result<()> {
        Self::of_leftover(run)?.map_or(Ok(()), |path| remove(&path))
    }
}

/// One name for one machine's folder, at the top of the hierarchy: only there are all controllers to be had.
fn path_for(root: &Path, run: &Path) -> io::Result<PathBuf> {
    let mut hash = DefaultHasher::new();
    run.canonicalize()?.hash(&mut hash);
    Ok(root.join(format!("holm-{:016x}", hash.finish())))
}

fn hierarchy() -> io::Result<PathBuf> {
    mount_point(&fs::read_to_string("/proc/self/mountinfo")?).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 hierarchy is mounted on this computer")
    })
}

/// The mount point of type `cgroup2` in proc_pid_mountinfo(5).
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        // Another root shows a part of the hierarchy only.
        (filesystem.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(point))
    })
}

/// Best effort: a controller that cannot be offered is one the guest reports as missing.
fn offer_controllers(root: &Path) {
    let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    for controller in controllers.split_whitespace() {
        // One at a time: a write of several is refused as a whole.
        let _ = fs::write(root.join("cgroup.subtree_control"), format!("+{controller}"));
    }
}

fn remove(cgroup: &Path) -> io::Result<()> {
    if !cgroup.exists() {
        return Ok(());
    }
    // Missing before kernel 5.14; there the end of the PID namespace has killed them.
    let _ = fs::write(cgroup.join("cgroup.kill"), "1");
    let mut tries = 1;
    loop {
        match remove_tree(cgroup) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && tries < TRIES => {
                // A killed process counts until it has been reaped, which the kernel tells nobody.
                thread::sleep(BETWEEN_TRIES);
                tries += 1;
            }
            result => return result,
        }
    }
}

/// The files of a cgroup cannot be removed, and go with their folder.
fn remove_tree(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_v2_hierarchy_is_found_beside_v1_hierarchies() {
        let mountinfo = "\
            24 23 0:21 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            30 24 0:27 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
            33 24 0:30 /part /mnt/part rw,relatime - cgroup2 cgroup2 rw\n\
            34 24 0:30 / /sys/fs/cgroup/unified rw,relatime shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount_point(mountinfo), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("24 23 0:21 / / rw - ext4 /dev/vda rw"), None);
    }
}
