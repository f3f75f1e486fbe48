//! What is at a path, in Go's terms.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, SecondsFormat};
use rustix::fs::{AtFlags, FileType, OFlags, Stat, readlinkat, statat};

use super::protocol::PathStat;
use super::view::View;

/// Bits of Go's `os.FileMode`.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const NAMED_PIPE: u32 = 1 << 25;
const SOCKET: u32 = 1 << 24;
const SETUID: u32 = 1 << 23;
const SETGID: u32 = 1 << 22;
const CHARACTER_DEVICE: u32 = 1 << 21;
const STICKY: u32 = 1 << 20;

/// A path of a client's: cleaned, absolute, and whether it ends so that a link at its end is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: PathBuf,
    /// `/.` or `/` at its end: only a folder can be meant.
    pub(super) folder: bool,
    /// What the last part is called: `.` after a dot, `/` for the root.
    pub(super) name: String,
}

impl Asked {
    pub(super) fn parse(text: &str) -> Self {
        let mut path = PathBuf::from("/");
        for component in Path::new(text).components() {
            match component {
                Component::Normal(name) => path.push(name),
                Component::ParentDir => drop(path.pop()),
                _ => {}
            }
        }
        let dotted = text == "." || text.ends_with("/.");
        let name = match path.file_name() {
            _ if dotted => ".".to_owned(),
            None => "/".to_owned(),
            Some(name) => name.to_string_lossy().into_owned(),
        };
        Self { folder: dotted || text.ends_with('/') || path == Path::new("/"), path, name }
    }
}

/// What is there; a link itself, unless the path says otherwise.
pub(super) fn stat(view: &View, asked: &Asked) -> io::Result<PathStat> {
    let found = if asked.folder {
        let folder = view.find(&asked.path, OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::fs::fstat(&folder)?
    } else {
        let (folder, name) = view.parent(&asked.path)?;
        statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?
    };
    let is_link = FileType::from_raw_mode(found.st_mode) == FileType::Symlink;
    let nanos = u32::try_from(found.st_mtime_nsec).unwrap_or(0);
    let mtime = DateTime::from_timestamp(found.st_mtime, nanos).unwrap_or_default();
    Ok(PathStat {
        name: asked.name.clone(),
        size: found.st_size,
        mode: go_mode(&found),
        mtime: mtime.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        link_target: if is_link { target(view, asked)?.display().to_string() } else { String::new() },
    })
}

/// Where a link leads in the end, or, where that is nowhere, what it says.
fn target(view: &View, asked: &Asked) -> io::Result<PathBuf> {
    match view.find(&asked.path, OFlags::PATH) {
        Ok(found) => view.place_of(&found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (folder, name) = view.parent(&asked.path)?;
            let text = readlinkat(&folder, &name, Vec::new())?;
            let above = asked.path.parent().unwrap_or(Path::new("/"));
            let joined = above.join(OsStr::from_bytes(text.to_bytes()));
            Ok(Asked::parse(&joined.to_string_lossy()).path)
        }
        Err(error) => Err(error),
    }
}

fn go_mode(stat: &Stat) -> u32 {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => DIRECTORY,
        FileType::Symlink => SYMLINK,
        FileType::BlockDevice => DEVICE,
        FileType::CharacterDevice => DEVICE | CHARACTER_DEVICE,
        FileType::Fifo => NAMED_PIPE,
        FileType::Socket => SOCKET,
        _ => 0,
    };
    let more = [(0o4000, SETUID), (0o2000, SETGID), (0o1000, STICKY)];
    let more = more.into_iter().filter(|(bit, _)| stat.st_mode & bit != 0).fold(0, |sum, (_, bit)| sum | bit);
    kind | more | (stat.st_mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_absolute_and_its_end_tells_whether_a_folder_is_meant() {
        let asked = |text: &str| {
            let asked = Asked::parse(text);
            (asked.path.display().to_string(), asked.folder, asked.name)
        };
        assert_eq!(asked("etc/passwd"), ("/etc/passwd".into(), false, "passwd".into()));
        assert_eq!(asked("/etc/"), ("/etc".into(), true, "etc".into()));
        assert_eq!(asked("/etc/."), ("/etc".into(), true, ".".into()));
        assert_eq!(asked("/../../a"), ("/a".into(), false, "a".into()));
        assert_eq!(asked("/"), ("/".into(), true, "/".into()));
        assert_eq!(asked(""), ("/".into(), true, "/".into()));
    }
}
