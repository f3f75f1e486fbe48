//! What a container changed: its upper folder, told against the layers below (moby, `go-archive` `Changes`).

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;
use serde_json::json;

use super::pack::{is_opaque, is_place};

/// Deeper than a path can be long.
const DEEPEST: usize = 2048;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Modified = 0,
    Added = 1,
    Deleted = 2,
}

/// Writes `[{"Path": …, "Kind": …}]`, or `null` where nothing changed, folder by folder in the order of their names.
pub(super) fn write(out: &mut impl Write, upper: OwnedFd, lower: Option<OwnedFd>) -> io::Result<()> {
    let mut list = List { out, any: false };
    let mut walk = Walk { list: &mut list };
    walk.folder(&upper, lower.as_ref(), Path::new(""), false, 0)?;
    let any = list.any;
    list.out.write_all(if any { b"]" } else { b"null" })?;
    list.out.flush()
}

struct List<'a, W> {
    out: &'a mut W,
    any: bool,
}

impl<W: Write> List<'_, W> {
    fn add(&mut self, path: &Path, kind: Kind) -> io::Result<()> {
        self.out.write_all(if self.any { b"," } else { b"[" })?;
        self.any = true;
        let change = json!({ "Path": Path::new("/").join(path).to_string_lossy(), "Kind": kind as u8 });
        self.out.write_all(change.to_string().as_bytes())
    }
}

struct Walk<'a, 'b, W> {
    list: &'a mut List<'b, W>,
}

impl<W: Write> Walk<'_, '_, W> {
    /// `told`: whether the folder itself is in the list already, as it has to be before what is in it.
    fn folder(
        &mut self,
        upper: &OwnedFd,
        lower: Option<&OwnedFd>,
        path: &Path,
        mut told: bool,
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEEPEST {
            return Err(Errno::NAMETOOLONG.into());
        }
        let names = names(upper)?;
        let hidden = if is_opaque(upper) { hidden(lower, &names)? } else { Vec::new() };
        for name in names {
            let below = path.join(OsStr::from_bytes(name.as_bytes()));
            let Some(stat) = look(upper, &name)? else { continue };
            if is_place(below.as_os_str().as_bytes(), &stat) {
                continue;
            }
            let before = lower.map(|lower| look(lower, &name)).transpose()?.flatten();
            let kind = match &before {
                _ if is_whiteout(&stat) => Kind::Deleted,
                None => Kind::Added,
                Some(_) => Kind::Modified,
            };
            if kind == Kind::Deleted && before.is_none() {
                // Made and removed again: nothing is different.
                continue;
            }
            let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            let same = is_folder && before.is_some_and(|before| is_same_folder(&stat, &before))
                // Its time changed with the places that were made in it.
                || is_folder && matches!(below.as_os_str().as_bytes(), b"dev" | b"etc") && before.is_some();
            if kind != Kind::Modified && !told && !path.as_os_str().is_empty() {
                self.list.add(path, Kind::Modified)?;
                told = true;
            }
            if !same {
                self.list.add(&below, kind)?;
            }
            if is_folder {
                let upper = enter(upper, &name)?;
                let lower = lower.map(|lower| enter(lower, &name)).transpose()?.flatten();
                if let Some(upper) = upper {
                    self.folder(&upper, lower.as_ref(), &below, !same, depth + 1)?;
                }
            }
        }
        for name in hidden {
            self.list.add(&path.join(OsStr::from_bytes(name.as_bytes())), Kind::Deleted)?;
        }
        Ok(())
    }
}

/// Names of a lower folder that an opaque upper one hides and does not have itself.
fn hidden(lower: Option<&OwnedFd>, upper: &[CString]) -> io::Result<Vec<CString>> {
    let there: BTreeSet<&CString> = upper.iter().collect();
    let lower = lower.map(names).transpose()?.unwrap_or_default();
    Ok(lower.into_iter().filter(|name| !there.contains(name)).collect())
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn look(folder: &OwnedFd, name: &CString) -> io::Result<Option<Stat>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn enter(folder: &OwnedFd, name: &CString) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(folder, name, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn is_same_folder(a: &Stat, b: &Stat) -> bool {
    let same_time = a.st_mtime == b.st_mtime
        && (a.st_mtime_nsec == b.st_mtime_nsec || a.st_mtime_nsec == 0 || b.st_mtime_nsec == 0);
    a.st_mode == b.st_mode && same_time
}

/// The folder of an overlay that is all lower layers.
pub(super) fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(PathBuf::from(path), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn additions_changes_and_removals_are_told_with_the_folders_they_are_in() {
        assert!(rustix::process::geteuid().is_root(), "this test makes devices: run it as root");
        let (upper, lower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [upper.path(), lower.path()] {
            fs::create_dir_all(folder.join("etc/deep")).unwrap();
            fs::create_dir(folder.join("opt")).unwrap();
        }
        fs::write(lower.path().join("etc/deep/gone"), "").unwrap();
        fs::write(lower.path().join("opt/changed"), "").unwrap();
        fs::write(upper.path().join("opt/changed"), "x").unwrap();
        fs::write(upper.path().join("opt/new"), "").unwrap();
        fs::write(upper.path().join("etc/hosts"), "").unwrap();
        let mark = |name: &str| {
            let path = upper.path().join(name);
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        };
        mark("etc/deep/gone");
        mark("opt/never-was");
        // A folder that is as it was but for what is in it. Made one after the other, the two may differ in time.
        for folder in [upper.path(), lower.path()] {
            fs::File::open(folder.join("opt")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let mut out = Vec::new();
        let open = |path: &Path| open_folder(path).unwrap();
        write(&mut out, open(upper.path()), Some(open(lower.path()))).unwrap();
        let told: Vec<serde_json::Value> = serde_json::from_slice(&out).unwrap();
        let told: Vec<_> = told
            .iter()
            .map(|change| (change["Path"].as_str().unwrap(), change["Kind"].as_u64().unwrap()))
            .collect();
        assert_eq!(
            told,
            [("/etc/deep", 0), ("/etc/deep/gone", 2), ("/opt/changed", 0), ("/opt", 0), ("/opt/new", 1)]
        );
    }

    #[test]
    fn nothing_changed_is_null_as_in_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Vec::new();
        write(&mut out, open_folder(folder.path()).unwrap(), None).unwrap();
        assert_eq!(out, b"null");
    }
}
