//! Files and folders that only their owner may open.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes the folder and the ones above it where they are not there yet.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// An empty file to write to, whatever was there before.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Bytes that may still be written where `path` lies; `None` where the system does not say.
pub(crate) fn free_space(path: &Path) -> io::Result<Option<u64>> {
    let room = rustix::fs::statvfs(path)?;
    Ok(Some(room.f_bavail.saturating_mul(room.f_frsize)))
}

/// Makes the name of `path` itself durable, after a rename.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Bytes that a file takes on its file system, holes left out.
pub(crate) fn bytes_taken(file: &std::fs::Metadata) -> u64 {
    // st_blocks counts 512 bytes whatever the file system's block is (stat(2)).
    std::os::unix::fs::MetadataExt::blocks(file) * 512
}

/// A symbolic link at `path` that leads to `target`.
pub(crate) fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Sets the permission bits.
pub(crate) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Gives a file the mode of another, and its owner as far as we may: who writes somebody's settings as root must
/// not lock them out.
pub(crate) fn give_to_owner_of(file: &File, other: &std::fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let _ = fchown(file, Some(other.uid()), Some(other.gid()));
    file.set_permissions(other.permissions())
}

/// A folder, open as far as its times and its mode can be set.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// What tells a file or folder from all others of this computer, as long as something holds it.
pub(crate) fn identity(metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether this user may write there, or why not.
pub(crate) fn may_write(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(path, rustix::fs::Access::WRITE_OK)?)
}

/// What a file of this kind, neither file nor folder nor link, is called where nothing may be written to it.
pub(crate) fn special_file(kind: std::fs::FileType) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        "to a named pipe (FIFO)"
    } else if kind.is_socket() {
        "to a socket"
    } else if kind.is_char_device() {
        "to a character device file"
    } else {
        "to a block device file"
    }
}
