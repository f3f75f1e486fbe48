//! Listing folders before anybody asks for what is in them, name by name: one answer with all names and attributes
//! fills the kernel's caches as hundreds of others would. The host says which.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::Receiver;

use holm_api::files::{DONE, acknowledge};
use rustix::fs::{Mode, OFlags, RawDir, ResolveFlags, openat2};

use super::copy::Stream;

/// Bytes of one listing; what the kernel asks the host for is as large (since Linux 6.16; a page before).
const LISTING: usize = 256 << 10;

/// Names of one folder that are fetched at most.
const MOST_NAMES: usize = 1 << 16;

/// Lists folders of the mount with this `root`, and tells of each that it was.
pub(super) fn lists(stream: &Stream, root: &File, folders: &Receiver<(u64, Vec<u8>)>) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); LISTING];
    let result = (|| {
        while let Ok((number, folder)) = folders.recv() {
            if let Err(error) = list(root, &folder, &mut buffer) {
                tracing::debug!("not listed ahead: {error}");
            }
            stream.send(&acknowledge(DONE, number))?;
        }
        Ok(())
    })();
    stream.end("lists", &result);
    result
}

/// Never out of the share: what a container mounted in it is not the computer's.
fn list(root: &File, folder: &[u8], buffer: &mut [MaybeUninit<u8>]) -> io::Result<()> {
    let path = if folder.is_empty() { Path::new(".") } else { Path::new(OsStr::from_bytes(folder)) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let folder = openat2(root, path, flags, Mode::empty(), within)?;
    let mut entries = RawDir::new(folder, buffer);
    let mut names = 0;
    while names < MOST_NAMES
        && let Some(entry) = entries.next()
    {
        entry?;
        names += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_listed_and_a_way_out_is_none() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("root/sub")).unwrap();
        fs::write(folder.path().join("root/file"), "").unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("root/up")).unwrap();
        let root = File::open(folder.path().join("root")).unwrap();
        let mut buffer = vec![MaybeUninit::uninit(); LISTING];
        let mut list = |path: &str| list(&root, path.as_bytes(), &mut buffer);
        assert!(list("").is_ok() && list("sub").is_ok());
        for no_folder in ["..", "up", "/tmp", "file", "absent"] {
            assert!(list(no_folder).is_err(), "{no_folder}");
        }
    }
}
