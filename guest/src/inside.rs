//! Paths inside of a folder that stands for a root, as the computer's folders and a volume's. The kernel resolves
//! them with that folder as `/` (openat2(2), `RESOLVE_IN_ROOT`): no link in it, however it is changed meanwhile,
//! leads out.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;

/// How deep a folder may be that is made: as deep as a path can be long.
const DEEPEST: usize = 2048;

/// A folder to start from.
pub(crate) fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens what `path` means in `root`. Links are followed, within it.
pub(crate) fn find(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    loop {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), within) {
            // A rename or a mount came in between, which the kernel leaves to us to repeat.
            Err(Errno::AGAIN | Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// The folder `path` in `root`, made with those above it where they are missing.
pub(crate) fn make_folder(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let root = root.as_fd();
    match find(root, path, flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => return other,
    }
    let mut folder = find(root, Path::new("."), flags)?;
    let mut walked = PathBuf::new();
    for component in path.components().take(DEEPEST) {
        let std::path::Component::Normal(name) = component else { continue };
        walked.push(name);
        folder = match find(root, &walked, flags) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                    // Somebody was faster; or a link that leads nowhere, which the next try tells.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                find(root, &walked, flags)?
            }
            other => other?,
        };
    }
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_to_places_inside_only() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("root");
        std::fs::create_dir_all(folder.join("etc/real")).unwrap();
        std::fs::create_dir(outer.path().join("secret")).unwrap();
        symlink("/etc/real", folder.join("absolute")).unwrap();
        symlink("../../../../secret", folder.join("up")).unwrap();
        let root = root(&folder).unwrap();
        let open = |path: &str| find(&root, Path::new(path), OFlags::PATH | OFlags::DIRECTORY);
        open("/absolute").unwrap();
        open("").unwrap();
        open("../../..").unwrap();
        assert_eq!(open("up").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_is_made_through_links_and_where_it_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        symlink("/real", folder.path().join("link")).unwrap();
        symlink("/nowhere", folder.path().join("dangling")).unwrap();
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let root = root(folder.path()).unwrap();
        make_folder(&root, Path::new("/link/a/b")).unwrap();
        make_folder(&root, Path::new("/link/a/b")).unwrap();
        assert!(folder.path().join("real/a/b").is_dir());
        make_folder(&root, Path::new("dangling/a")).unwrap_err();
        assert_eq!(make_folder(&root, Path::new("file/a")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
