//! A container's files as its processes see them, in a mount namespace of this process's own: its root, and over
//! that its volumes and the computer's folders. tmpfs is its processes' alone, as in moby. Paths are resolved with
//! the root as `/`, by the kernel; a link that `/proc` makes out of an open file is never taken.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, setns, unshare};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, openat2, readlinkat};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use super::protocol::Plan;
use crate::inside;
use crate::shim::protocol::Source;
use crate::shim::rootfs::Rootfs;
use crate::shim::sources;

/// The container's root, with or without what is mounted in it.
#[derive(Debug)]
pub(super) struct View {
    root: OwnedFd,
    path: PathBuf,
}

/// Whether volumes and folders of the computer's are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum With {
    /// As the container sees them.
    Volumes,
    /// The image's files in their place.
    NoVolumes,
}

impl View {
    /// Enters it. This process has one thread.
    pub(super) fn enter(plan: &Plan, with: With) -> io::Result<Self> {
        match plan.shim {
            Some(shim) => enter_shim(shim)?,
            None => {
                Rootfs::mount(&plan.root)?;
            }
        }
        let path = plan.root.target.clone();
        let view = Self { root: inside::root(&path)?, path };
        if with == With::Volumes {
            if plan.shim.is_none() {
                sources::attach(&plan.sources).map_err(|failure| io::Error::other(failure.message))?;
            }
            let mut in_order: Vec<&Source> = plan.sources.iter().collect();
            in_order.sort_by_key(|source| source.destination.components().count());
            in_order.into_iter().try_for_each(|source| view.cover(source))?;
        }
        // What was mounted over the root itself is seen only from a new start.
        Ok(Self { root: inside::root(&view.path)?, path: view.path })
    }

    /// Where the root is in this namespace.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what `path` is; a link at its end is followed.
    pub(super) fn find(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        inside::find(&self.root, path, flags)
    }

    /// Opens the folder that holds the last part of `path`, and that part.
    pub(super) fn parent(&self, path: &Path) -> io::Result<(OwnedFd, PathBuf)> {
        let name = path.file_name().map(PathBuf::from).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        Ok((self.find(folder, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Where an open file is, as the container calls it.
    pub(super) fn place_of(&self, file: &OwnedFd) -> io::Result<PathBuf> {
        let text = readlinkat(rustix::fs::CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())?;
        let text = PathBuf::from(String::from_utf8_lossy(text.to_bytes()).into_owned());
        Ok(Path::new("/").join(text.strip_prefix(&self.path).unwrap_or(&text)))
    }

    /// Lays a source over its destination, which is made where it is missing, as at a start.
    fn cover(&self, source: &Source) -> io::Result<()> {
        let shown = File::from(inside::root(source.target.parent().unwrap_or(Path::new("/")))?);
        let name = source.target.file_name().map(PathBuf::from).unwrap_or_default();
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        let tree = open_tree(&shown, &name, flags)?;
        let is_folder = FileType::from_raw_mode(fstat(&tree)?.st_mode) == FileType::Directory;
        let place = match self.find(&source.destination, OFlags::PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(&source.destination, is_folder)?
            }
            other => other?,
        };
        let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(tree.as_fd(), "", place.as_fd(), "", by_descriptor)?)
    }

    fn make(&self, destination: &Path, is_folder: bool) -> io::Result<OwnedFd> {
        if is_folder {
            return inside::make_folder(&self.root, destination);
        }
        let folder = inside::make_folder(&self.root, destination.parent().unwrap_or(Path::new("/")))?;
        let name = destination.file_name().map(PathBuf::from).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&folder, &name, flags, Mode::from_raw_mode(0o644), ResolveFlags::BENEATH)?;
        self.find(destination, OFlags::PATH)
    }
}

/// Takes a copy of the mounts that a running container's shim has: its root is among them.
fn enter_shim(shim: i32) -> io::Result<()> {
    let namespace = File::open(format!("/proc/{shim}/ns/mnt"))?;
    setns(namespace, CloneFlags::CLONE_NEWNS)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}
