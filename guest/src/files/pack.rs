//! Walks a tree and writes a tar of it. Every name is opened below an open folder and never followed, so whatever
//! a running container does meanwhile, nothing outside of the tree is read. What is in memory is one open folder a
//! level, and the names of files with several of them.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, fgetxattr, flistxattr, fstat, major, minor, openat,
    readlinkat, statat,
};
use rustix::io::Errno;

use crate::archive::write::{self, Kind, Member};

/// Bytes of the longest path: Linux' `PATH_MAX`, which also bounds how deep the walk goes.
const LONGEST_PATH: usize = 4096;
/// Names of hard links that are remembered; of more, each is written as a file of its own.
const MOST_LINKS: usize = 1 << 20;
/// Bytes of all names of one file's attributes, and of one value: the kernel's own limit.
const LONGEST_XATTRS: usize = 64 << 10;
const OPAQUE: &CStr = c"trusted.overlay.opaque";

/// Places where every container has something mounted. What is there underneath was made for that alone.
pub(super) const PLACES: [&[u8]; 11] = [
    b".dockerenv",
    b"dev",
    b"dev/console",
    b"dev/mqueue",
    b"dev/pts",
    b"dev/shm",
    b"etc/hostname",
    b"etc/hosts",
    b"etc/resolv.conf",
    b"proc",
    b"sys",
];

/// What is written of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// All, as it is.
    Plain,
    /// All, with times to the nanosecond.
    Exact,
    /// An overlay's upper folder as a layer: marks of what is gone become names, places of mounts stay out.
    Layer,
}

/// Writes one tar.
pub(super) struct Packer<W> {
    out: W,
    flavour: Flavour,
    links: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

/// A folder on the way.
struct Level {
    folder: OwnedFd,
    entries: Dir,
    /// Its path in the tar, with a slash at its end, or empty.
    path: Vec<u8>,
}

impl<W: Write> Packer<W> {
    pub(super) fn new(out: W, flavour: Flavour) -> Self {
        Self { out, flavour, links: HashMap::new(), buffer: vec![0; 128 << 10] }
    }

    /// Writes the folder and all below it. It is called `path` there, with a slash at its end, or, with an empty
    /// one, has no member of its own.
    pub(super) fn folder(&mut self, folder: OwnedFd, path: &[u8]) -> io::Result<()> {
        if !path.is_empty() {
            self.member(path, Kind::Directory, &fstat(&folder)?, &[])?;
        }
        let mut levels = vec![self.enter(folder, path.to_owned())?];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.next() else {
                levels.pop();
                continue;
            };
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = [level.path.as_slice(), name.to_bytes()].concat();
            if path.len() > LONGEST_PATH {
                return Err(Errno::NAMETOOLONG.into());
            }
            let name = name.to_owned();
            if let Some(below) = self.entry(&levels[levels.len() - 1].folder, &name, path)? {
                levels.push(below);
            }
        }
        Ok(())
    }

    /// Writes one thing that is no folder.
    pub(super) fn single(&mut self, folder: &OwnedFd, name: &CStr, path: &[u8]) -> io::Result<()> {
        let below = self.entry(folder, name, path.to_owned())?;
        if below.is_some() { Err(Errno::ISDIR.into()) } else { Ok(()) }
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<()> {
        write::finish(&mut self.out)
    }

    fn entry(&mut self, folder: &OwnedFd, name: &CStr, path: Vec<u8>) -> io::Result<Option<Level>> {
        let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It went while we looked at its neighbours.
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        if self.flavour == Flavour::Layer && is_place(&path, &stat) {
            return Ok(None);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(folder, name, path),
            FileType::RegularFile => self.file(folder, name, &path).map(|()| None),
            FileType::Symlink => {
                let text = readlinkat(folder, name, Vec::new())?;
                self.linked(&path, &stat, Kind::Symlink(text.to_bytes())).map(|()| None)
            }
            FileType::CharacterDevice if self.flavour == Flavour::Layer && stat.st_rdev == 0 => {
                self.whiteout(&path, &stat).map(|()| None)
            }
            FileType::CharacterDevice => {
                let kind = Kind::Character(major(stat.st_rdev), minor(stat.st_rdev));
                self.linked(&path, &stat, kind).map(|()| None)
            }
            FileType::BlockDevice => {
                let kind = Kind::Block(major(stat.st_rdev), minor(stat.st_rdev));
                self.linked(&path, &stat, kind).map(|()| None)
            }
            FileType::Fifo => self.linked(&path, &stat, Kind::Fifo).map(|()| None),
            // No archive holds a socket.
            _ => Ok(None),
        }
    }

    fn directory(&mut self, folder: &OwnedFd, name: &CStr, mut path: Vec<u8>) -> io::Result<Option<Level>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let below = match openat(folder, name, flags, Mode::empty()) {
            // It went, or is something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            other => other?,
        };
        path.push(b'/');
        let stat = fstat(&below)?;
        let xattrs = attributes(&below)?;
        self.member(&path, Kind::Directory, &stat, &xattrs)?;
        if self.flavour == Flavour::Layer && is_opaque(&below) {
            let mark = [path.as_slice(), b".wh..wh..opq"].concat();
            self.member(&mark, Kind::File(0), &stat, &[])?;
        }
        self.enter(below, path).map(Some)
    }

    fn enter(&self, folder: OwnedFd, path: Vec<u8>) -> io::Result<Level> {
        let entries = Dir::read_from(&folder)?;
        Ok(Level { folder, entries, path })
    }

    fn file(&mut self, folder: &OwnedFd, name: &CStr, path: &[u8]) -> io::Result<()> {
        // Not to wait where a pipe has taken the file's place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(folder, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            other => other?,
        };
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        if let Some(first) = self.known(&stat, path) {
            return self.member(path, Kind::HardLink(&first), &stat, &[]);
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let xattrs = attributes(&file)?;
        self.member(path, Kind::File(size), &stat, &xattrs)?;
        self.copy(File::from(file), size)
    }

    /// Exactly `size` bytes: the header has promised them. What a container adds meanwhile is left out, what it
    /// takes away is zero.
    fn copy(&mut self, mut file: File, size: u64) -> io::Result<()> {
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let read = match file.read(&mut self.buffer[..wanted]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let length = if read == 0 {
                self.buffer[..wanted].fill(0);
                wanted
            } else {
                read
            };
            self.out.write_all(&self.buffer[..length])?;
            left -= length as u64;
        }
        self.out.write_all(write::padding(size))
    }

    fn linked(&mut self, path: &[u8], stat: &Stat, kind: Kind<'_>) -> io::Result<()> {
        match self.known(stat, path) {
            Some(first) => self.member(path, Kind::HardLink(&first), stat, &[]),
            None => self.member(path, kind, stat, &[]),
        }
    }

    /// The name under which a file with several was written.
    fn known(&mut self, stat: &Stat, path: &[u8]) -> Option<Vec<u8>> {
        if stat.st_nlink < 2 {
            return None;
        }
        let key = (stat.st_dev, stat.st_ino);
        let first = self.links.get(&key).cloned();
        if first.is_none() && self.links.len() < MOST_LINKS {
            self.links.insert(key, path.to_owned());
        }
        first
    }

    fn whiteout(&mut self, path: &[u8], stat: &Stat) -> io::Result<()> {
        let slash = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let mark = [&path[..slash], b".wh.", &path[slash..]].concat();
        let member = Member {
            path: &mark,
            kind: Kind::File(0),
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (stat.st_mtime, 0),
            xattrs: &[],
        };
        write::write_header(&mut self.out, &member)
    }

    fn member(
        &mut self,
        path: &[u8],
        kind: Kind<'_>,
        stat: &Stat,
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let nanos = if self.flavour == Flavour::Exact { stat.st_mtime_nsec as u32 } else { 0 };
        let member = Member {
            path,
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: (stat.st_mtime, nanos),
            xattrs,
        };
        write::write_header(&mut self.out, &member)
    }
}

/// Something empty at a place where every container has a mount.
pub(super) fn is_place(path: &[u8], stat: &Stat) -> bool {
    let known = PLACES.contains(&path);
    match FileType::from_raw_mode(stat.st_mode) {
        // Its own entries are left out as well; nlink counts folders in it.
        FileType::Directory => known && path != b"dev" && stat.st_nlink <= 2,
        FileType::RegularFile => known && stat.st_size == 0,
        _ => false,
    }
}

/// Whether what lower layers have in this folder of an upper one is hidden.
pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    fgetxattr(folder, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// The attributes that mean something in another place: capabilities of programs, and users' own.
fn attributes(file: &OwnedFd) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; LONGEST_XATTRS];
    let length = match flistxattr(file, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0) {
        if name != b"security.capability" && !name.starts_with(b"user.") {
            continue;
        }
        if name.starts_with(b"user.overlay.") {
            continue;
        }
        let mut value = vec![0; LONGEST_XATTRS];
        match fgetxattr(file, name, &mut value[..]) {
            // It went meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
            Ok(length) => found.push((name.to_vec(), value[..length].to_vec())),
        }
    }
    Ok(found)
}

/// An open folder by the path that leads to it: for calls that take no descriptor.
pub(super) fn by_descriptor(folder: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn packed(flavour: Flavour, make: impl FnOnce(&std::path::Path)) -> Vec<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path());
        let mut bytes = Vec::new();
        let mut packer = Packer::new(&mut bytes, flavour);
        packer.folder(File::open(folder.path()).unwrap().into(), b"").unwrap();
        packer.finish().unwrap();
        let mut archive = tar_reader(&bytes);
        let mut members: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let name = entry.path().unwrap().display().to_string();
                let mut content = String::new();
                match entry.link_name().unwrap() {
                    Some(link) => content = format!("-> {}", link.display()),
                    None => drop(entry.read_to_string(&mut content).unwrap()),
                }
                (name, content)
            })
            .collect();
        members.sort();
        members
    }

    fn tar_reader(bytes: &[u8]) -> ::tar::Archive<&[u8]> {
        ::tar::Archive::new(bytes)
    }

    fn owned(members: &[(&str, &str)]) -> Vec<(String, String)> {
        members.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
    }

    #[test]
    fn links_are_packed_as_links_and_nothing_is_read_through_them() {
        let members = packed(Flavour::Plain, |folder| {
            fs::create_dir(folder.join("dir")).unwrap();
            fs::write(folder.join("dir/file"), "text").unwrap();
            symlink("/etc", folder.join("out")).unwrap();
            std::os::unix::net::UnixListener::bind(folder.join("socket")).unwrap();
        });
        assert_eq!(members, owned(&[("dir/", ""), ("dir/file", "text"), ("out", "-> /etc")]));
    }

    #[test]
    fn a_file_with_two_names_is_packed_once() {
        let members = packed(Flavour::Plain, |folder| {
            fs::write(folder.join("one"), "text").unwrap();
            fs::hard_link(folder.join("one"), folder.join("two")).unwrap();
        });
        let contents: Vec<_> = members.iter().map(|(_, content)| content.as_str()).collect();
        assert!(
            contents.contains(&"text") && contents.iter().any(|text| text.starts_with("-> ")),
            "{members:?}"
        );
    }

    #[test]
    fn a_layer_has_marks_for_what_is_gone_and_no_places_of_mounts() {
        assert!(rustix::process::geteuid().is_root(), "this test makes devices: run it as root");
        let members = packed(Flavour::Layer, |folder| {
            fs::create_dir_all(folder.join("etc/kept")).unwrap();
            fs::write(folder.join("etc/hosts"), "").unwrap();
            fs::create_dir(folder.join("proc")).unwrap();
            fs::write(folder.join("etc/file"), "text").unwrap();
            let gone = folder.join("etc/gone");
            rustix::fs::mknodat(rustix::fs::CWD, &gone, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
            let opaque = folder.join("etc/kept");
            rustix::fs::setxattr(&opaque, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
        });
        assert_eq!(
            members,
            owned(&[
                ("etc/", ""),
                ("etc/.wh.gone", ""),
                ("etc/file", "text"),
                ("etc/kept/", ""),
                ("etc/kept/.wh..wh..opq", ""),
            ])
        );
    }
}
