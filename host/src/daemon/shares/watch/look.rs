//! A look at what an event names, no further than the share: no link on the way there is followed, which the guest
//! may have put there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use holm_api::files::{Kind, Times};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, open, openat2, statat};

/// The share's root, held.
#[derive(Debug)]
pub(crate) struct Look {
    root: OwnedFd,
}

impl Look {
    /// From what is at this path now.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { root: open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())? })
    }

    /// The folder at a path below; empty: the root itself.
    pub(crate) fn folder(&self, path: &Path) -> io::Result<File> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(openat2(&self.root, path, flags, Mode::empty(), within)?.into())
    }

    /// As watches want it.
    pub(crate) fn descriptor(folder: &File) -> BorrowedFd<'_> {
        folder.as_fd()
    }

    /// What is there, itself, and its times.
    pub(crate) fn at_path(&self, path: &Path) -> io::Result<(Kind, Times)> {
        let found = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => statat(self.folder(parent)?, name, AtFlags::SYMLINK_NOFOLLOW)?,
            _ => statat(&self.root, "", AtFlags::EMPTY_PATH)?,
        };
        Ok((kind(&found)?, times(&found)))
    }
}

/// Devices are nothing that a container is told of.
fn kind(found: &Stat) -> io::Result<Kind> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Ok(Kind::Folder),
        FileType::RegularFile => Ok(Kind::File),
        FileType::Symlink => Ok(Kind::Link),
        FileType::Fifo => Ok(Kind::Pipe),
        FileType::Socket => Ok(Kind::Socket),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn times(found: &Stat) -> Times {
    // No time has a billion nanoseconds.
    let of = |seconds: i64, nanoseconds: u64| (seconds, u32::try_from(nanoseconds).unwrap_or_default());
    Times {
        accessed: of(found.st_atime, found.st_atime_nsec),
        modified: of(found.st_mtime, found.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_seen_as_one_and_never_followed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("root")).unwrap();
        std::fs::write(folder.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("root/up")).unwrap();
        let look = Look::at(&folder.path().join("root")).unwrap();
        assert_eq!(look.at_path(Path::new("up")).unwrap().0, Kind::Link);
        assert_eq!(look.at_path(Path::new("")).unwrap().0, Kind::Folder);
        assert!(look.at_path(Path::new("up/secret")).is_err());
        assert!(look.at_path(Path::new("../secret")).is_err());
    }
}
