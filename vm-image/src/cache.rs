//! What takes minutes to build is kept in a folder whose name is the digest of everything it was built from. An
//! entry is wholly there or not at all: it is filled under another name and renamed.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The user's cache folder for Holm's builds.
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// Makes the folder where it is missing.
    pub(crate) fn open(root: &Path) -> Result<Cache> {
        fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Cache { root: root.to_owned() })
    }

    /// The folder `name`, filled by `fill` if it is not there yet. Two builds at once: the second one waits and
    /// finds what the first one made.
    pub(crate) fn entry(&self, name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let entry = self.root.join(name);
        let lock = File::create(self.root.join(format!("{name}.lock")))?;
        lock.lock().with_context(|| format!("cannot lock {}", entry.display()))?;
        if !entry.is_dir() {
            let unfinished = self.scratch(name)?;
            fill(&unfinished)?;
            fs::rename(&unfinished, &entry)?;
        }
        Ok(entry)
    }

    /// An empty folder for work in progress; what an interrupted build left there goes first.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(format!("{name}.unfinished"));
        remove_all(&folder)?;
        fs::create_dir(&folder)?;
        Ok(folder)
    }
}

/// Removes a folder with all it holds; one that is not there is fine.
pub(crate) fn remove_all(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_filled_once() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        for _ in 0..2 {
            let entry = cache
                .entry("kernel-1", |folder| {
                    assert!(!root.path().join("kernel-1").exists(), "filled a second time");
                    Ok(fs::write(folder.join("vmlinux"), "ELF")?)
                })
                .unwrap();
            assert_eq!(fs::read(entry.join("vmlinux")).unwrap(), b"ELF");
        }
    }

    #[test]
    fn a_failed_filling_leaves_no_entry_and_does_not_disturb_the_next() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::open(root.path()).unwrap();
        let failed = cache.entry("kernel-1", |folder| {
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("no space left")
        });
        assert!(failed.is_err());
        let entry = cache.entry("kernel-1", |folder| Ok(fs::write(folder.join("whole"), "")?)).unwrap();
        let names: Vec<_> = fs::read_dir(entry).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(names, ["whole"]);
    }
}
