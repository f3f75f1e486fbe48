//! What a path asks for besides the file that it leads to: Docker's `cp` tells `dir`, `dir/` and `dir/.` apart.

use std::io;
use std::path::{Component, Path, PathBuf};

/// How many links may lead to each other.
const MOST_LINKS: usize = 10;

/// Whether it ends in `.`: the contents are meant.
pub(super) fn means_contents(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// Whether it ends in a way that only a directory can.
pub(super) fn asserts_directory(path: &str) -> bool {
    path.ends_with('/') || means_contents(path)
}

/// The path cleaned of `.`, `..` and double slashes, by its letters alone.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

/// The directory and the last part, which is `.` where the contents are meant.
pub(super) fn split(path: &str) -> (String, String) {
    let cleaned = clean(path);
    if means_contents(path) {
        return (cleaned, ".".to_owned());
    }
    match cleaned.rsplit_once('/') {
        Some(("", "")) => ("/".to_owned(), "/".to_owned()),
        Some(("", last)) => ("/".to_owned(), last.to_owned()),
        Some((directory, last)) => (directory.to_owned(), last.to_owned()),
        None => (".".to_owned(), cleaned),
    }
}

/// A path of this computer from the root on, with the end that it was given.
pub(super) fn absolute(path: &str) -> io::Result<String> {
    let here = std::env::current_dir()?;
    let mut whole = if Path::new(path).is_absolute() { PathBuf::new() } else { here };
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                whole.pop();
            }
            part => whole.push(part),
        }
    }
    let mut text = whole.to_string_lossy().into_owned();
    let slash = if text.ends_with('/') { "" } else { "/" };
    if means_contents(path) {
        text.push_str(slash);
        text.push('.');
    } else if path.ends_with('/') {
        text.push_str(slash);
    }
    Ok(text)
}

/// One side of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// With the end that the user gave it.
    pub(super) path: String,
    pub(super) exists: bool,
    pub(super) is_directory: bool,
    /// The name that it goes by in the archive, where that is not the last part of the path.
    pub(super) alias: Option<String>,
}

impl Place {
    /// What the top of its archive is called.
    pub(super) fn name(&self) -> String {
        match (&self.alias, split(&self.path).1) {
            // The contents have no name, and neither has the root.
            (_, last) if last == "." || last == "/" => ".".to_owned(),
            (Some(alias), _) => alias.clone(),
            (None, last) => last,
        }
    }

    /// A place on this computer to copy from. A link at its end is what is copied, unless it is to be followed
    /// or the path says that it is a directory.
    pub(super) fn source(path: &str, follow_link: bool) -> io::Result<Self> {
        let canonical = |path: &str| -> io::Result<String> {
            Ok(std::fs::canonicalize(path)?.to_string_lossy().into_owned())
        };
        let (resolved, alias) = if follow_link || asserts_directory(path) {
            rename(path, canonical(path)?)
        } else {
            let (directory, last) = split(path);
            (format!("{}/{last}", canonical(&directory)?.trim_end_matches('/')), None)
        };
        let found = std::fs::symlink_metadata(&resolved)?;
        Ok(Self { path: resolved, exists: true, is_directory: found.is_dir(), alias })
    }

    /// A place on this computer to copy to. Links are followed: what they lead to is what the user means.
    pub(super) fn destination(path: &str) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..=MOST_LINKS {
            let found = match std::fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (parent, _) = split(&path);
                    if !std::fs::metadata(&parent)?.is_dir() {
                        return Err(io::Error::from(io::ErrorKind::NotADirectory));
                    }
                    return Ok(Self { path, exists: false, is_directory: false, alias: None });
                }
                Err(error) => return Err(error),
            };
            if !found.is_symlink() {
                return Ok(Self { path, exists: true, is_directory: found.is_dir(), alias: None });
            }
            let target = std::fs::read_link(&path)?.to_string_lossy().into_owned();
            path = follow(&path, &target);
        }
        Err(io::Error::other(format!("too many symlinks in {path}")))
    }
}

/// Where a link at `path` leads to.
pub(super) fn follow(path: &str, target: &str) -> String {
    if target.starts_with('/') {
        return target.to_owned();
    }
    clean(&format!("{}/{target}", split(path).0))
}

/// A link's target with the end that the link was named by, and the link's name where the target has another.
pub(super) fn rename(path: &str, mut target: String) -> (String, Option<String>) {
    if means_contents(path) && !means_contents(&target) {
        target.push_str("/.");
    }
    if path.ends_with('/') && !target.ends_with('/') {
        target.push('/');
    }
    let name = base(path);
    let alias = (name != base(&target)).then_some(name);
    (target, alias)
}

/// The last part, whatever follows it.
fn base(path: &str) -> String {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned()
}

/// Where an archive is to be extracted, and what its top is to be called there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Landing {
    pub(super) directory: String,
    /// `None` leaves the name as it is.
    pub(super) name: Option<String>,
}

/// Why one place cannot be copied to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoLanding {
    #[error("cannot copy directory")]
    DirectoryOntoFile,
    #[error("no such directory")]
    NoDirectory,
}

/// Docker's rules of `cp`: into a directory that exists, over a file, or under a new name.
pub(super) fn landing(source: &Place, destination: &Place) -> Result<Landing, NoLanding> {
    let (directory, name) = split(&destination.path);
    match (destination.exists, destination.is_directory, source.is_directory) {
        (true, true, _) => Ok(Landing { directory: destination.path.clone(), name: None }),
        (true, false, true) => Err(NoLanding::DirectoryOntoFile),
        (false, _, false) if asserts_directory(&destination.path) => Err(NoLanding::NoDirectory),
        _ => Ok(Landing { directory, name: Some(name) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, exists: bool, is_directory: bool) -> Place {
        Place { path: path.to_owned(), exists, is_directory, alias: None }
    }

    #[test]
    fn the_end_of_a_path_tells_what_is_meant() {
        assert_eq!(split("/a/b"), ("/a".to_owned(), "b".to_owned()));
        assert_eq!(split("/a/b/"), ("/a".to_owned(), "b".to_owned()));
        assert_eq!(split("/a/b/."), ("/a/b".to_owned(), ".".to_owned()));
        assert_eq!(split("/a"), ("/".to_owned(), "a".to_owned()));
        assert_eq!(split("/"), ("/".to_owned(), "/".to_owned()));
        assert_eq!(split("a"), (".".to_owned(), "a".to_owned()));
        assert_eq!(clean("/a/../../b//./c"), "/b/c");
        assert_eq!(clean("a/.."), ".");
        assert!(asserts_directory("/a/") && asserts_directory("/a/.") && !asserts_directory("/a"));
    }

    #[test]
    fn a_copy_lands_by_dockers_rules() {
        let file = place("/src/f", true, false);
        let directory = place("/src/d", true, true);
        let into = |source: &Place, destination: Place| landing(source, &destination);
        let named = |directory: &str, name: &str| {
            Ok(Landing { directory: directory.to_owned(), name: Some(name.to_owned()) })
        };
        let inside = |directory: &str| Ok(Landing { directory: directory.to_owned(), name: None });
        assert_eq!(into(&file, place("/x", true, true)), inside("/x"));
        assert_eq!(into(&directory, place("/x", true, true)), inside("/x"));
        assert_eq!(into(&file, place("/y/x", true, false)), named("/y", "x"));
        assert_eq!(into(&file, place("/y/x", false, false)), named("/y", "x"));
        assert_eq!(into(&directory, place("/y/x/", false, false)), named("/y", "x"));
        assert_eq!(into(&directory, place("/x", true, false)), Err(NoLanding::DirectoryOntoFile));
        assert_eq!(into(&file, place("/x/", false, false)), Err(NoLanding::NoDirectory));
    }

    #[test]
    fn a_destination_is_what_its_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink("d", at("l")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        let found = Place::destination(&at("l")).unwrap();
        assert_eq!((found.path.as_str(), found.is_directory), (at("d").as_str(), true));
        assert!(!Place::destination(&at("new")).unwrap().exists);
        assert!(Place::destination(&at("no/new")).is_err());
        assert!(Place::destination(&at("loop")).is_err());
    }

    #[test]
    fn a_source_that_is_a_link_is_the_link_unless_it_is_to_be_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("d")).unwrap();
        std::os::unix::fs::symlink("d", at("l")).unwrap();
        assert!(!Place::source(&at("l"), false).unwrap().is_directory);
        assert!(Place::source(&at("l/"), false).unwrap().is_directory);
        let followed = Place::source(&at("l"), true).unwrap();
        assert!(followed.is_directory);
        assert_eq!(followed.alias.as_deref(), Some("l"));
        assert!(Place::source(&at("nothing"), false).is_err());
    }
}
