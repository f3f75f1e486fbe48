//! Where the watched folders of a share are: an event names its folder by what it is, the guest by its path.
//! Pure; it follows the folders when they are renamed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::FolderId;

/// Folders of one share that are watched at most. Each is an inode that the kernel cannot forget.
const MOST: usize = 65_536;

/// Paths are relative to the share's root, which is the empty one.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    paths: HashMap<FolderId, PathBuf>,
    ids: HashMap<PathBuf, FolderId>,
}

impl Tree {
    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.paths.len() < MOST
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether the folder of this path is watched.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.ids.contains_key(path)
    }

    /// A folder is watched.
    pub(crate) fn put(&mut self, id: FolderId, path: PathBuf) {
        if let Some(old) = self.paths.insert(id.clone(), path.clone())
            && old != path
        {
            self.ids.remove(&old);
        }
        if let Some(other) = self.ids.insert(path, id.clone())
            && other != id
        {
            self.paths.remove(&other);
        }
    }

    /// Where a name in a watched folder is.
    pub(crate) fn path(&self, folder: &FolderId, name: &OsStr) -> Option<PathBuf> {
        let folder = self.paths.get(folder)?;
        Some(if name.is_empty() { folder.clone() } else { folder.join(name) })
    }

    /// A folder is gone, or somewhere else where nobody looks, and all below it.
    pub(crate) fn remove(&mut self, path: &Path) {
        for (_, id) in self.take(path) {
            self.paths.remove(&id);
        }
    }

    /// A folder has another path, and all below it.
    pub(crate) fn rename(&mut self, from: &Path, to: &Path) {
        // What was there before is replaced.
        self.remove(to);
        for (path, id) in self.take(from) {
            let below = path.strip_prefix(from).unwrap_or(Path::new(""));
            let path = if below.as_os_str().is_empty() { to.to_owned() } else { to.join(below) };
            self.paths.insert(id.clone(), path.clone());
            self.ids.insert(path, id);
        }
    }

    fn take(&mut self, path: &Path) -> Vec<(PathBuf, FolderId)> {
        let found: Vec<_> = self.ids.keys().filter(|other| other.starts_with(path)).cloned().collect();
        found.into_iter().filter_map(|path| self.ids.remove(&path).map(|id| (path, id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u8) -> FolderId {
        FolderId(vec![number])
    }

    fn tree() -> Tree {
        let mut tree = Tree::default();
        for (number, path) in [(0, ""), (1, "a"), (2, "a/b"), (3, "ab")] {
            tree.put(id(number), path.into());
        }
        tree
    }

    #[test]
    fn a_renamed_folder_takes_along_what_is_below_it() {
        let mut tree = tree();
        tree.rename(Path::new("a"), Path::new("ab/c"));
        assert_eq!(tree.path(&id(2), OsStr::new("x")), Some("ab/c/b/x".into()));
        assert_eq!(tree.path(&id(1), OsStr::new("")), Some("ab/c".into()));
        assert_eq!(tree.path(&id(3), OsStr::new("")), Some("ab".into()));
        assert!(!tree.has(Path::new("a")) && tree.has(Path::new("ab/c/b")));
    }

    #[test]
    fn a_removed_folder_is_forgotten_with_all_below_it() {
        let mut tree = tree();
        tree.remove(Path::new("a"));
        assert_eq!((tree.path(&id(2), OsStr::new("x")), tree.len()), (None, 2));
    }

    #[test]
    fn a_folder_that_takes_anothers_place_is_the_one_that_is_there() {
        let mut tree = tree();
        tree.put(id(9), "a/b".into());
        assert_eq!(tree.path(&id(2), OsStr::new("x")), None);
        assert_eq!(tree.path(&id(9), OsStr::new("x")), Some("a/b/x".into()));
        tree.rename(Path::new("ab"), Path::new("a"));
        assert_eq!((tree.len(), tree.path(&id(3), OsStr::new(""))), (2, Some("a".into())));
    }
}
