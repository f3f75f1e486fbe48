//! What is mounted in a container beside its root, taken before the container is made: each source is resolved
//! once, inside the folder that it may not leave, and mounted at a place of ours in this mount namespace. Whoever
//! changes a link in a volume or a folder meanwhile changes nothing any more.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree,
};

use super::execute::words;
use super::protocol::{Failure, Source, SourcePropagation};
use super::rootfs::mount_lower;
use crate::inside;

/// Mounts every source at its place. This process has a mount namespace of its own.
pub(crate) fn attach(sources: &[Source]) -> Result<(), Failure> {
    sources.iter().try_for_each(|source| {
        attach_one(source).map_err(|error| {
            let (shown, destination) = (&source.shown, source.destination.display());
            let error = in_words(&error);
            Failure::of_creation(&format!("error mounting {shown:?} to rootfs at \"{destination}\": {error}"))
        })
    })
}

fn attach_one(source: &Source) -> io::Result<()> {
    if let Some(layers) = &source.layers {
        mount_image(layers, &source.root)?;
    }
    let root = inside::root(&source.root)?;
    let found = inside::find(&root, &source.path, OFlags::PATH).map_err(|error| {
        io::Error::new(error.kind(), format!("stat {}: {}", source.shown, in_words(&error)))
    })?;
    check_propagation(source, found.as_fd())?;
    make_place(&source.target, FileType::from_raw_mode(fstat(&found)?.st_mode))?;

    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if source.recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(&found, "", flags)?;
    let by_descriptor = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(tree.as_fd(), "", rustix::fs::CWD, &source.target, by_descriptor)?;
    let propagation = match source.propagation {
        SourcePropagation::Private => MountPropagationFlags::PRIVATE,
        SourcePropagation::Slave | SourcePropagation::Shared => return Ok(()),
    };
    Ok(mount_change(&source.target, propagation | MountPropagationFlags::REC)?)
}

/// Mounts an image to be read. Goes with this mount namespace.
fn mount_image(layers: &[PathBuf], at: &Path) -> io::Result<()> {
    // overlayfs takes no layer alone that nobody can write to.
    let nothing = at.with_extension("nothing");
    fs::create_dir_all(&nothing)?;
    match layers {
        [] => fs::create_dir_all(at),
        some => mount_lower(&[some, &[nothing]].concat(), at),
    }
}

/// As Go words an error of the kernel's.
fn in_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => words(Errno::from_raw(number)),
        None => error.to_string(),
    }
}

/// A file for what is no folder, as mount(2) wants it.
fn make_place(target: &Path, kind: FileType) -> io::Result<()> {
    if kind == FileType::Directory {
        return fs::create_dir_all(target);
    }
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    // One of an earlier run, when the source was a folder still.
    let _ = fs::remove_dir(target);
    File::options().create(true).append(true).open(target).map(drop)
}

/// Whether mounts can come through, in moby's words. From here to the computer none ever go.
fn check_propagation(source: &Source, found: BorrowedFd<'_>) -> io::Result<()> {
    let wanted = match source.propagation {
        SourcePropagation::Private => return Ok(()),
        SourcePropagation::Slave => "shared or slave",
        SourcePropagation::Shared => "shared",
    };
    let (at, fields) = mount_of(found)?;
    let open = match source.propagation {
        SourcePropagation::Slave => fields.contains("master:") || fields.contains("shared:"),
        _ => false,
    };
    if open {
        return Ok(());
    }
    let at = Path::new(&at);
    let at = at.strip_prefix(&source.root).map_or(at.to_owned(), |at| Path::new("/").join(at));
    let text = format!("path {} is mounted on {} but it is not a {wanted} mount", source.shown, at.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}

/// Where the mount is that holds an open file, and its optional fields (proc_pid_mountinfo(5)).
fn mount_of(file: BorrowedFd<'_>) -> io::Result<(String, String)> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).map(str::trim).unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let found = fields.into_iter().find(|fields| fields.first() == Some(&id));
    let found = found.ok_or(io::ErrorKind::NotFound)?;
    let optional = found.iter().skip(6).take_while(|field| **field != "-").copied();
    Ok((found.get(4).copied().unwrap_or_default().to_owned(), optional.collect::<Vec<_>>().join(" ")))
}
