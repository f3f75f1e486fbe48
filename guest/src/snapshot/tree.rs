//! A directory tree that nothing written into it can leave. Every name is resolved by the kernel with the
//! tree's root as `/` (openat2(2), `RESOLVE_IN_ROOT`), so links in the tree, absolute or with `..`, lead to
//! places in the tree; and every last component is made or changed without following it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, Dev, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

/// A clean path below the root: no empty component, no `.`, no `..`, no slash at either end. Empty for the root.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inside(Vec<u8>);

/// A path that means a place outside of the tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outside;

/// The tree, by its root.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    /// The directory that was used last: archives are sorted by directory.
    last: Option<(Inside, Rc<OwnedFd>)>,
}

/// One name in one directory of a tree.
pub(super) struct Place {
    folder: Rc<OwnedFd>,
    name: Vec<u8>,
}

/// Who owns something, and who may do what with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ownership {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
}

impl Inside {
    /// Cleans a path from an archive as Go's `filepath.Clean` does: `a/../b` is `b`, and the root is the tree's.
    pub(super) fn clean(path: &[u8]) -> Result<Self, Outside> {
        let mut clean: Vec<&[u8]> = Vec::new();
        for component in path.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(clean.pop().ok_or(Outside)?),
                name => clean.push(name),
            }
        }
        Ok(Self(clean.join(&b'/')))
    }

    /// The root itself.
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// A path below this one.
    pub(super) fn join(&self, below: &Self) -> Self {
        match (self.is_root(), below.is_root()) {
            (true, _) => below.clone(),
            (_, true) => self.clone(),
            _ => Self([&self.0, &b"/"[..], &below.0].concat()),
        }
    }

    /// As a process in the tree would write it.
    pub(super) fn shown(&self) -> Vec<u8> {
        [&b"/"[..], &self.0].concat()
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory, and the name in it. The root's name is empty.
    pub(super) fn split(&self) -> (Self, &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self(Vec::new()), &self.0),
        }
    }

    /// Another name beside this one.
    pub(super) fn sibling(&self, name: &[u8]) -> Self {
        let (folder, _) = self.split();
        if folder.is_root() { Self(name.to_vec()) } else { Self([&folder.0, &b"/"[..], name].concat()) }
    }
}

impl Tree {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Rc::new(File::open(root)?.into()), last: None })
    }

    /// The place at `path`; its directories are made where they are missing.
    pub(super) fn place(&mut self, path: &Inside) -> io::Result<Place> {
        let (folder, name) = path.split();
        Ok(Place { folder: self.folder(&folder)?, name: name.to_vec() })
    }

    /// The place at `path`, if its directory is there.
    pub(super) fn find(&self, path: &Inside) -> io::Result<Place> {
        let (folder, name) = path.split();
        Ok(Place { folder: Rc::new(self.resolve(&folder)?), name: name.to_vec() })
    }

    /// Something was removed or replaced: a path may lead elsewhere than before.
    pub(super) fn forget(&mut self) {
        self.last = None;
    }

    fn folder(&mut self, path: &Inside) -> io::Result<Rc<OwnedFd>> {
        if path.is_root() {
            return Ok(self.root.clone());
        }
        if let Some((last, folder)) = &self.last
            && last == path
        {
            return Ok(folder.clone());
        }
        let folder = match self.resolve(path) {
            Err(Errno::NOENT) => {
                let (above, name) = path.split();
                let above = self.folder(&above)?;
                let mode = Mode::from_raw_mode(0o755);
                match rustix::fs::mkdirat(&above, name, mode) {
                    // Whatever the process's umask takes away.
                    Ok(()) => rustix::fs::chmodat(&above, name, mode, AtFlags::empty())?,
                    // A link that leads nowhere is told by the second try.
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                self.resolve(path)?
            }
            other => other?,
        };
        let folder = Rc::new(folder);
        self.last = Some((path.clone(), folder.clone()));
        Ok(folder)
    }

    fn resolve(&self, path: &Inside) -> Result<OwnedFd, Errno> {
        let path = if path.is_root() { &b"."[..] } else { &path.0 };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags, Mode::empty(), within) {
                // Somewhere a mount or a rename came in between, which the kernel leaves to us to repeat.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }
}

impl Place {
    /// The directory itself that the name is in.
    pub(super) fn folder(self) -> Self {
        Self { name: Vec::new(), ..self }
    }

    fn at(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// What the name is now, if it is anything. The root is a directory.
    pub(super) fn kind(&self) -> io::Result<Option<FileType>> {
        match rustix::fs::statat(self.at(), self.name(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the name is overlayfs' mark for "not here".
    pub(super) fn is_whiteout(&self) -> io::Result<bool> {
        let stat = rustix::fs::statat(self.at(), self.name(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0)
    }

    pub(super) fn create_file(&self) -> io::Result<File> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(self.at(), self.name(), flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    pub(super) fn create_directory(&self) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self.at(), self.name(), Mode::RWXU)?)
    }

    pub(super) fn create_symlink(&self, text: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(text, self.at(), self.name())?)
    }

    pub(super) fn create_node(&self, kind: FileType, device: Dev) -> io::Result<()> {
        Ok(rustix::fs::mknodat(self.at(), self.name(), kind, Mode::RUSR | Mode::WUSR, device)?)
    }

    /// One more name for what `target` is. A symbolic link gets the name itself, not what it points to.
    pub(super) fn create_link(&self, target: &Self) -> io::Result<()> {
        Ok(rustix::fs::linkat(target.at(), target.name(), self.at(), self.name(), AtFlags::empty())?)
    }

    /// Removes what is there, a directory with all it holds.
    pub(super) fn remove(&self) -> io::Result<()> {
        if self.kind()? == Some(FileType::Directory) {
            fs::remove_dir_all(self.by_descriptor())
        } else {
            Ok(rustix::fs::unlinkat(self.at(), self.name(), AtFlags::empty())?)
        }
    }

    /// Of anything but a symbolic link; those have no mode.
    pub(super) fn own(&self, ownership: Ownership) -> io::Result<()> {
        self.own_link(ownership)?;
        Ok(rustix::fs::chmodat(
            self.at(),
            self.name(),
            Mode::from_raw_mode(ownership.mode),
            AtFlags::empty(),
        )?)
    }

    pub(super) fn own_link(&self, ownership: Ownership) -> io::Result<()> {
        let (uid, gid) = ownership.ids()?;
        Ok(rustix::fs::chownat(self.at(), self.name(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(super) fn set_xattr(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(self.by_descriptor(), name, value, XattrFlags::empty())?)
    }

    pub(super) fn set_time(&self, mtime: (i64, u32)) -> io::Result<()> {
        let times = timestamps(mtime);
        Ok(rustix::fs::utimensat(self.at(), self.name(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn name(&self) -> &[u8] {
        if self.name.is_empty() { b"." } else { &self.name }
    }

    /// For calls that take no directory descriptor. The link in /proc leads to the open directory, wherever its
    /// path leads by now.
    fn by_descriptor(&self) -> PathBuf {
        Path::new("/proc/self/fd")
            .join(self.at().as_raw_fd().to_string())
            .join(OsStr::from_bytes(self.name()))
    }
}

impl Ownership {
    /// Gives an open file its owner and mode. The owner first: a change of it takes setuid bits away.
    pub(super) fn give(self, file: &File) -> io::Result<()> {
        let (uid, gid) = self.ids()?;
        rustix::fs::fchown(file, Some(uid), Some(gid))?;
        Ok(rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))?)
    }

    fn ids(self) -> io::Result<(Uid, Gid)> {
        // The kernel takes this number for "no change".
        if self.uid == u32::MAX || self.gid == u32::MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no user has this number"));
        }
        Ok((Uid::from_raw(self.uid), Gid::from_raw(self.gid)))
    }
}

/// Access and change time alike, as no archive tells them apart.
pub(super) fn timestamps((seconds, nanos): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text_and_may_not_start_above_the_root() {
        let clean =
            |text: &str| Inside::clean(text.as_bytes()).map(|path| String::from_utf8(path.0).unwrap());
        assert_eq!(clean("/a//./b/").unwrap(), "a/b");
        assert_eq!(clean("a/../b").unwrap(), "b");
        assert_eq!(clean("./").unwrap(), "");
        for path in ["..", "../a", "a/../../b", "/../etc"] {
            assert_eq!(clean(path), Err(Outside), "{path}");
        }
    }
}
