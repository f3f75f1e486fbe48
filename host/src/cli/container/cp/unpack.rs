//! A tar archive from a container as files of this computer. The archive is not trusted: nothing in it leads
//! out of the directory that it is extracted to, neither by `..` nor by a link that it or somebody made there.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, EntryType, Header};

/// How the names of an archive become names here.
pub(super) struct Names {
    /// The archive is of a directory's contents: its top has no name.
    pub(super) contents: bool,
    /// What the top is called here; `None` leaves its name, or puts contents where they are extracted to.
    pub(super) top: Option<String>,
}

impl Names {
    /// The path below the directory; empty for the directory itself.
    fn below(&self, name: &Path) -> io::Result<PathBuf> {
        let mut parts = Vec::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::CurDir | Component::RootDir => {}
                _ => return Err(unsafe_name(name)),
            }
        }
        let rest = match (self.contents, &self.top) {
            (false, Some(_)) => parts.get(1..).ok_or_else(|| unsafe_name(name))?,
            _ => &parts[..],
        };
        Ok(self.top.iter().map(std::ffi::OsStr::new).chain(rest.iter().copied()).collect())
    }
}

fn unsafe_name(name: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("unsafe name in the archive: {}", name.display()))
}

/// Extracts the archive into `directory`, which exists.
pub(super) fn unpack(archive: impl Read, directory: &Path, names: &Names) -> io::Result<()> {
    let root = fs::canonicalize(directory)?;
    let mut archive = Archive::new(archive);
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let below = names.below(&entry.path()?)?;
        let path = root.join(&below);
        if entry.header().entry_type() == EntryType::Directory {
            if path != root {
                make_directory(&root, &path)?;
            }
            // Last of all: a directory that may not be written to could not be filled.
            directories.push((path, entry.header().clone()));
            continue;
        }
        if path == root {
            return Err(unsafe_name(&entry.path()?));
        }
        check_parent(&root, &path)?;
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                clear(&path)?;
                let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
                io::copy(&mut entry, &mut file)?;
                dress(&file, entry.header())?;
            }
            EntryType::Symlink => {
                let target = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                clear(&path)?;
                crate::os::symlink(&target, &path)?;
            }
            EntryType::Link => {
                let target = entry.link_name()?.ok_or(io::ErrorKind::InvalidData)?;
                let target = root.join(names.below(&target)?);
                check_parent(&root, &target)?;
                clear(&path)?;
                fs::hard_link(&target, &path)?;
            }
            // Devices and pipes are the container's; here they would be somebody else's.
            _ => {}
        }
    }
    for (path, header) in directories.into_iter().rev() {
        dress_directory(&path, &header)?;
    }
    Ok(())
}

/// Makes a directory, or leaves the one that is there. What is no directory gives way.
fn make_directory(root: &Path, path: &Path) -> io::Result<()> {
    check_parent(root, path)?;
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    fs::create_dir(path)
}

/// Makes the directories above a path, and sees to it that no link among them leads out of the root.
fn check_parent(root: &Path, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Err(unsafe_name(path)) };
    let mut walked = root.to_owned();
    for part in parent.strip_prefix(root).map_err(|_| unsafe_name(path))?.components() {
        walked.push(part);
        if fs::symlink_metadata(&walked).is_err() {
            fs::create_dir(&walked)?;
        } else if !fs::canonicalize(&walked)?.starts_with(root) {
            return Err(unsafe_name(path));
        }
    }
    Ok(())
}

/// Removes what is in the way of a new file. A directory is not: a copy must not cost more than it brings.
fn clear(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("cannot overwrite directory {} with non-directory", path.display()),
        )),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn dress(file: &File, header: &Header) -> io::Result<()> {
    crate::os::set_mode(file, header.mode()? & 0o7777)?;
    file.set_times(times(header)?)
}

fn dress_directory(path: &Path, header: &Header) -> io::Result<()> {
    let directory = crate::os::open_directory(path)?;
    directory.set_times(times(header)?)?;
    crate::os::set_mode(&directory, header.mode()? & 0o7777)
}

fn times(header: &Header) -> io::Result<FileTimes> {
    let modified = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(header.mtime()?));
    let modified = modified.ok_or(io::ErrorKind::InvalidData)?;
    Ok(FileTimes::new().set_modified(modified).set_accessed(modified))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Name, type, link target or content.
    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, kind, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(if *kind == EntryType::Directory { 0o755 } else { 0o640 });
            header.set_mtime(1_000_000);
            let bytes = name.as_bytes();
            // Written by hand, because the library refuses names that are no good.
            header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
            let linked = matches!(kind, EntryType::Symlink | EntryType::Link);
            if linked {
                let bytes = text.as_bytes();
                header.as_old_mut().linkname[..bytes.len()].copy_from_slice(bytes);
            }
            let content = if linked { "" } else { *text };
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn extract(entries: &[(&str, EntryType, &str)], into: &Path, top: Option<&str>) -> io::Result<()> {
        let names = Names { contents: false, top: top.map(str::to_owned) };
        unpack(&archive(entries)[..], into, &names)
    }

    const DIRECTORY: EntryType = EntryType::Directory;
    const FILE: EntryType = EntryType::Regular;
    const LINK: EntryType = EntryType::Symlink;

    #[test]
    fn a_tree_arrives_with_its_modes_and_times_under_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let tree = [
            ("d/", DIRECTORY, ""),
            ("d/f", FILE, "text"),
            ("d/l", LINK, "f"),
            ("d/h", EntryType::Link, "d/f"),
        ];
        extract(&tree, folder.path(), Some("new")).unwrap();
        let at = |name: &str| folder.path().join("new").join(name);
        assert_eq!(fs::read_to_string(at("f")).unwrap(), "text");
        assert_eq!(fs::metadata(at("f")).unwrap().permissions().mode() & 0o7777, 0o640);
        let modified = fs::metadata(at("f")).unwrap().modified().unwrap();
        assert_eq!(modified.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(), 1_000_000);
        assert_eq!(fs::read_link(at("l")).unwrap(), Path::new("f"));
        assert_eq!(fs::read_to_string(at("h")).unwrap(), "text");
    }

    #[test]
    fn contents_go_into_the_directory_itself() {
        let folder = tempfile::tempdir().unwrap();
        let names = Names { contents: true, top: None };
        unpack(&archive(&[("./", DIRECTORY, ""), ("./f", FILE, "x")])[..], folder.path(), &names).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), "x");
    }

    #[test]
    fn nothing_leads_out() {
        let outside = tempfile::tempdir().unwrap();
        let out = outside.path().to_str().unwrap();
        for entries in [
            vec![("../x", FILE, "x")],
            vec![("d/../../x", FILE, "x")],
            vec![("l", LINK, out), ("l/x", FILE, "x")],
            vec![("l", LINK, ".."), ("l/x", FILE, "x")],
            vec![("l", LINK, out), ("l/d/", DIRECTORY, "")],
            vec![("h", EntryType::Link, "../../../../etc/passwd")],
        ] {
            let folder = tempfile::tempdir().unwrap();
            assert!(extract(&entries, folder.path(), None).is_err(), "{entries:?}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_link_that_was_there_is_replaced_and_never_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        symlink(outside.path(), folder.path().join("f")).unwrap();
        extract(&[("f", FILE, "x")], folder.path(), None).unwrap();
        assert_eq!(fs::read_to_string(outside.path()).unwrap(), "");
        assert_eq!(fs::read_to_string(folder.path().join("f")).unwrap(), "x");
        fs::create_dir(folder.path().join("d")).unwrap();
        assert!(extract(&[("d", FILE, "x")], folder.path(), None).is_err());
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_name_leaves_the_directory() {
            bolero::check!().with_type::<(String, Option<String>, bool)>().for_each(
                |(name, top, contents)| {
                    let top = top.as_ref().filter(|top| !top.contains(['/', '.'])).cloned();
                    let names = Names { contents: *contents, top };
                    if let Ok(below) = names.below(Path::new(name)) {
                        assert!(
                            below.components().all(|part| matches!(part, Component::Normal(_))),
                            "{name:?}"
                        );
                    }
                },
            );
        }
    }
}
