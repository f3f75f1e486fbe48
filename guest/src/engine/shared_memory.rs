//! Memory that a container shares with others (`--ipc shareable`): a tmpfs of its own in the machine, which is bound to
//! `/dev/shm` in each of them. It is there while the container runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holm_api::ContainerId;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::Engine;
use super::records::Definition;
use crate::layout::Layout;

/// The machine's own.
pub(super) const OF_MACHINE: &str = "/dev/shm";
/// Docker's size where the client asks for none.
const SIZE: i64 = 64 << 20;

/// Where a container's is.
pub(super) fn folder(layout: &Layout, id: &ContainerId) -> PathBuf {
    layout.run().join("shm").join(id.as_str())
}

/// Makes it, where the container asks for it.
pub(super) fn make(layout: &Layout, definition: &Definition) -> io::Result<()> {
    if definition.host.ipc_mode.as_deref() != Some("shareable") {
        return Ok(());
    }
    let folder = folder(layout, &definition.id);
    // One of an earlier run would be found under this one when it goes.
    detach(&folder)?;
    fs::create_dir_all(&folder)?;
    let size = definition.host.shm_size.filter(|size| *size > 0).unwrap_or(SIZE);
    let options = std::ffi::CString::new(format!("mode=1777,size={size}")).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    Ok(mount("shm", &folder, "tmpfs", flags, options.as_c_str())?)
}

/// Takes it away; who has it bound keeps it. Nothing to take away is fine.
pub(super) fn take_away(layout: &Layout, id: &ContainerId) -> io::Result<()> {
    let folder = folder(layout, id);
    detach(&folder)?;
    match fs::remove_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Engine {
    /// Takes a container's away after its end. That it stays is our trouble, not that of whoever stops a container.
    pub(super) fn take_shared_memory(&self, definition: &Definition) {
        if definition.host.ipc_mode.as_deref() == Some("shareable")
            && let Err(error) = take_away(self.layout(), &definition.id)
        {
            tracing::warn!("{}: its shared memory stays: {error}", definition.id.short());
        }
    }
}

fn detach(folder: &Path) -> io::Result<()> {
    match unmount(folder, UnmountFlags::DETACH) {
        // Not there, or nothing mounted on it.
        Ok(()) | Err(Errno::NOENT | Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::records::tests::definition;

    #[test]
    fn a_container_that_shares_nothing_gets_none_and_taking_it_away_twice_is_fine() {
        let run = tempfile::tempdir().unwrap();
        let layout = Layout::new(run.path(), run.path());
        make(&layout, &definition()).unwrap();
        assert!(!folder(&layout, &definition().id).exists());
        take_away(&layout, &definition().id).unwrap();
        take_away(&layout, &definition().id).unwrap();
    }
}
