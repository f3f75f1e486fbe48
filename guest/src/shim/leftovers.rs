//! What outlives a container in the kernel and on the tmpfs: its cgroup and libcontainer's state. Removed by its
//! own shim in the end, or, where that was killed, before the next one takes its place.

use std::fs;
use std::io;
use std::path::Path;

use holm_api::ContainerId;

use super::bundle;
use super::cgroup::Cgroup;

/// Ends all processes that are left of a container and removes its cgroup and its state. Nothing to remove is
/// fine.
pub(super) fn remove(runtime: &Path, id: &ContainerId, cgroup: &Cgroup) -> io::Result<()> {
    cgroup.remove()?;
    absent_is_fine(fs::remove_dir_all(runtime.join(id.as_str())))
}

/// The same for a container whose shim is gone, by its bundle. Its root went with the shim. Blocks for seconds at
/// worst.
pub(super) fn remove_after_kill(bundle: &Path) -> io::Result<()> {
    let (spec, config) = bundle::read(bundle)?;
    remove(&config.runtime, &config.id, &Cgroup::of(&spec))?;
    absent_is_fine(fs::remove_file(&config.socket))
}

pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
