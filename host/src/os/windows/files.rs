//! Files and folders in the user's profile, which lets nobody else in by what it inherits.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the folder and the ones above it where they are not there yet.
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// An empty file to write to, whatever was there before.
pub(crate) fn create_private_file(path: &Path) -> io::Result<File> {
    File::create(path)
}

/// A rename on NTFS is journalled; a folder cannot be synced.
pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Bytes of a file. What a sparse one takes would need its handle; the whole size is the safe side.
pub(crate) fn bytes_taken(file: &std::fs::Metadata) -> u64 {
    file.len()
}
