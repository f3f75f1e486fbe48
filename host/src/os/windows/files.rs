//! Files and folders in the user's profile, which lets nobody else in by what it inherits.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the folder and the ones above it where they are not there yet.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Bytes that may still be written where `path` lies: nobody has asked Windows yet.
pub(crate) fn free_space(_path: &Path) -> io::Result<Option<u64>> {
    Ok(None)
}

/// An empty file to write to, whatever was there before.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    File::create(path)
}

/// What a file inherits from its folder is all there is to it.
pub(crate) fn give_to_owner_of(_file: &File, _other: &std::fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// A rename on NTFS is journalled; a folder cannot be synced.
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes of a file. What a sparse one takes would need its handle; the whole size is the safe side.
pub(crate) fn bytes_taken(file: &std::fs::Metadata) -> u64 {
    file.len()
}

/// A symbolic link at `path` that leads to `target`. Links to folders are another kind here; what a link from
/// a container leads to is most often a file.
pub(crate) fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

/// NTFS has no permission bits; who may do what is inherited from the folder.
pub(crate) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// A folder, open as far as its times can be set.
pub(crate) fn open_directory(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    /// Without it, only files can be opened (CreateFileW).
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    fs::OpenOptions::new().write(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

/// What tells a file or folder from all others of this computer: not in what Rust tells of one here.
pub(crate) fn identity(_metadata: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

/// Whether it is not marked as read-only. Who may do what besides is known when somebody does it.
pub(crate) fn may_write(path: &Path) -> io::Result<()> {
    match fs::metadata(path)?.permissions().readonly() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// What a file of this kind, neither file nor folder nor link, is called where nothing may be written to it.
pub(crate) fn special_file(_kind: std::fs::FileType) -> &'static str {
    "to an irregular file"
}
