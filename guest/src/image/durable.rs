//! Files that are wholly there or wholly absent, whatever happens to the power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Folder for half-made files, beside what they become.
pub(super) const SCRATCH: &str = "tmp";

/// A name that no other file of this process has.
pub(super) fn scratch_name() -> String {
    // A counter is enough: the folder is emptied before the first name is given out.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:08x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Writes `bytes` to `root/name` by way of `root/tmp`. When this returns, they survive a loss of power.
pub(super) fn write(root: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let half = root.join(SCRATCH).join(scratch_name());
    let written = write_synced(&half, bytes)
        .and_then(|()| fs::rename(&half, root.join(name)))
        .and_then(|()| sync_parent(&root.join(name)));
    if written.is_err() {
        // The error that counts is the first; a leftover goes at the next start.
        let _ = fs::remove_file(&half);
    }
    written
}

/// Removes a file for good; one that is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename is durable when its folder is.
fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_no_scratch() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(SCRATCH)).unwrap();
        write(root.path(), "names.json", b"long first text").unwrap();
        write(root.path(), "names.json", b"second").unwrap();
        assert_eq!(fs::read(root.path().join("names.json")).unwrap(), b"second");
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_cannot_take_its_name_leaves_no_scratch() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(SCRATCH)).unwrap();
        fs::create_dir(root.path().join("names.json")).unwrap();
        write(root.path(), "names.json", b"text").unwrap_err();
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn removing_what_is_gone_is_no_error() {
        let root = tempfile::tempdir().unwrap();
        remove(&root.path().join("absent")).unwrap();
    }
}
