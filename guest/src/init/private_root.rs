//! A root of its own for a machine that is a process: a tmpfs that holds this program, the folder of sockets and
//! the data. So nothing is written to the host unasked, its `/run` and `/etc` are not ours, and whatever runs here
//! finds the same paths as in a machine with its own kernel. All that the host has is below one folder beside,
//! for the containers that a client gives some of it to.
//!
//! All are taken as detached mounts before the root changes: a path is resolved once, and it does not matter
//! what is mounted over it later. Needs Linux 5.2 (open_tree(2), move_mount(2)).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::boot::{BootError, DATA, failed};

/// Where the folder of sockets is found in the new root.
pub(super) const SOCKETS: &str = "/run/holm/host";
/// Where this program is found in the new root.
pub(super) const PROGRAM: &str = "/usr/bin/holmd";
/// Where the host's own root is found in the new root.
pub(super) const COMPUTER: &str = "/run/holm/computer";
/// A folder that every Linux has. The new root is put together here, and covers it in this namespace only.
const SCAFFOLD: &str = "/tmp";

/// Moves into the new root. `sockets` and `data` are folders of the host's.
pub(super) fn enter(sockets: &Path, data: &Path) -> Result<(), BootError> {
    close_inherited_on_exec().map_err(failed("list the open descriptors"))?;
    let sockets = take(sockets)?;
    let data = take(data)?;
    let program = take(Path::new("/proc/self/exe"))?;
    let computer = take(Path::new("/"))?;
    // Mount events of the host would arrive here, and ours there.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("keep mounts to ourselves"))?;
    mount("tmpfs", SCAFFOLD, "tmpfs", MountFlags::NOSUID, c"mode=755")
        .map_err(failed("mount tmpfs as the new root"))?;
    chdir(SCAFFOLD).map_err(failed("enter the new root"))?;
    put(&sockets, SOCKETS)?;
    put(&data, DATA)?;
    put(&program, PROGRAM)?;
    put(&computer, COMPUTER)?;
    // What the host mounts and unmounts later is followed here, as a disk that is plugged in; nothing of ours is
    // seen there.
    mount_change(
        COMPUTER.trim_start_matches('/'),
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .map_err(failed("follow what the host mounts"))?;
    fs::create_dir("tmp").and_then(|()| sticky("tmp")).map_err(failed("make /tmp in the new root"))?;
    let switch = || -> io::Result<()> {
        // With both arguments the same, the old root ends up on top of the new one (pivot_root(2), NOTES).
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        Ok(chdir("/")?)
    };
    switch().map_err(failed("change to the new root"))
}

/// What the host left open for this process, as the lock on its data, is not for its children: containers would
/// hold it too.
fn close_inherited_on_exec() -> io::Result<()> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let number: RawFd = entry?.file_name().to_string_lossy().parse().map_err(io::Error::other)?;
        // EBADF: the one that this list was read from.
        if number > libc::STDERR_FILENO {
            let _ = fcntl(number, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
    }
    Ok(())
}

/// A detached copy of the mount that holds `path`, from there down.
fn take(path: &Path) -> Result<OwnedFd, BootError> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags).map_err(failed(format!("take {} along", path.display())))
}

/// Attaches a detached mount in the new root, which is the current folder.
fn put(tree: &OwnedFd, path: &str) -> Result<(), BootError> {
    let step = || failed(format!("attach {path}"));
    let target = path.trim_start_matches('/');
    let made = File::from(tree.try_clone().map_err(|error| step()(error))?).metadata().and_then(|metadata| {
        if metadata.is_dir() {
            return fs::create_dir_all(target);
        }
        Path::new(target).parent().map_or(Ok(()), fs::create_dir_all)?;
        File::create(target).map(drop)
    });
    made.map_err(|error| step()(error))?;
    move_mount(tree.as_fd(), "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .map_err(|errno| step()(io::Error::from(errno)))
}

fn sticky(path: &str) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o1777))
}
