//! How many bytes a tree takes: what `docker ps --size` tells of a container's own layer.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes of all files under `root`, each once however many names it has. Directories count nothing. Files that
/// go away meanwhile are no error: a container may be running. Blocks.
pub(crate) fn usage(root: &Path) -> io::Result<u64> {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Some(entries) = if_there(fs::read_dir(&folder))? else { continue };
        for entry in entries {
            let Some(entry) = if_there(entry)? else { continue };
            // Of the entry itself, not of what it may point to.
            let Some(metadata) = if_there(entry.metadata())? else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                bytes += metadata.len();
            }
        }
    }
    Ok(bytes)
}

fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_what_a_link_points_to_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        fs::write(root.path().join("sub/file"), [0; 1000]).unwrap();
        fs::hard_link(root.path().join("sub/file"), root.path().join("again")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).unwrap();
        assert_eq!(usage(root.path()).unwrap(), 1000 + "/etc/passwd".len() as u64);
    }

    #[test]
    fn a_tree_that_is_gone_takes_nothing() {
        assert_eq!(usage(Path::new("/nowhere/at/all")).unwrap(), 0);
    }
}
