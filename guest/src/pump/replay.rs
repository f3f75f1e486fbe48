//! Doing again, on the mount, what somebody did on the computer, so that whoever watches files here is told
//! (inotify(7)): the kernel tells of nothing that it was not asked for itself. The host knows this thread and
//! changes nothing when it asks.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use holm_api::files::{Announcement, Change, Kind, Times};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, mkdirat,
    mknodat, openat2, renameat_with, symlinkat, unlinkat, utimensat,
};

/// Replays one change. `begin` tells the host that the next requests of this thread are the change itself.
pub(super) fn replay(
    root: impl AsFd,
    announcement: &Announcement,
    begin: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let path = Path::new(OsStr::from_bytes(&announcement.path));
    let (folder, name) = match path.file_name() {
        None => (root.as_fd().try_clone_to_owned()?, OsStr::new("")),
        Some(name) => (folder(&root, path.parent().unwrap_or(Path::new("")))?, name),
    };
    let target = match &announcement.change {
        Change::Renamed(to) => {
            let to = Path::new(OsStr::from_bytes(to));
            let name = to.file_name().ok_or(io::ErrorKind::InvalidInput)?;
            Some((self::folder(&root, to.parent().unwrap_or(Path::new("")))?, name))
        }
        _ => None,
    };
    begin()?;
    match &announcement.change {
        Change::Created(kind) => create(&folder, name, *kind),
        Change::Removed(kind) => {
            let flags = if *kind == Kind::Folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            Ok(unlinkat(&folder, name, flags)?)
        }
        Change::Renamed(_) => {
            let (to, new_name) = target.ok_or(io::ErrorKind::InvalidInput)?;
            Ok(renameat_with(&folder, name, &to, new_name, RenameFlags::empty())?)
        }
        // The time of writing alone is taken for a change of content, both times for one of attributes.
        Change::Modified(times) => {
            let omit = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
            touch(&folder, name, Timestamps { last_access: omit, last_modification: time(times.modified) })
        }
        Change::Attributes(Times { accessed, modified }) => {
            let times = Timestamps { last_access: time(*accessed), last_modification: time(*modified) };
            touch(&folder, name, times)
        }
        Change::Written => {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if name.is_empty() {
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder));
                let flags = flags.difference(OFlags::NOFOLLOW);
                return Ok(rustix::fs::open(path, flags, Mode::empty()).map(drop)?);
            }
            Ok(rustix::fs::openat(&folder, name, flags, Mode::empty()).map(drop)?)
        }
        // Nothing was changed; listing is another's.
        Change::Listed | Change::Nothing => Ok(()),
    }
}

/// Never out of the share: what a container mounted in it is not the computer's.
fn folder(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    Ok(openat2(root, path, flags, Mode::empty(), within)?)
}

fn create(folder: &OwnedFd, name: &OsStr, kind: Kind) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o600);
    let made = match kind {
        Kind::Folder => mkdirat(folder, name, mode),
        // Where it leads to is the host's to say.
        Kind::Link => symlinkat(".", folder, name),
        Kind::File => mknodat(folder, name, FileType::RegularFile, mode, 0),
        Kind::Pipe => mknodat(folder, name, FileType::Fifo, mode, 0),
        Kind::Socket => mknodat(folder, name, FileType::Socket, mode, 0),
    };
    Ok(made?)
}

fn touch(folder: &OwnedFd, name: &OsStr, times: Timestamps) -> io::Result<()> {
    let flags = if name.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(utimensat(folder, name, &times, flags)?)
}

fn time((seconds, nanoseconds): (i64, u32)) -> Timespec {
    // A number over the second's end is refused by the kernel.
    Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_change_is_an_operation_on_the_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        let root = fs::File::open(folder.path()).unwrap();
        let replay = |path: &str, change: Change| {
            let announcement = Announcement { path: path.as_bytes().to_vec(), change };
            super::replay(&root, &announcement, || Ok(()))
        };
        let file = folder.path().join("sub/a");
        replay("sub/a", Change::Created(Kind::File)).unwrap();
        let times = Times { accessed: (1, 2), modified: (3, 4) };
        replay("sub/a", Change::Modified(times)).unwrap();
        let seconds = |file: &Path| {
            let metadata = fs::metadata(file).unwrap();
            let of =
                |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            (of(metadata.accessed().unwrap()), of(metadata.modified().unwrap()))
        };
        assert_ne!(seconds(&file).0, 1);
        assert_eq!(seconds(&file).1, 3);
        replay("sub/a", Change::Attributes(times)).unwrap();
        assert_eq!(seconds(&file), (1, 3));
        replay("sub/a", Change::Written).unwrap();
        replay("sub/a", Change::Renamed(b"sub/b".to_vec())).unwrap();
        replay("sub/b", Change::Removed(Kind::File)).unwrap();
        replay("sub", Change::Removed(Kind::Folder)).unwrap();
        assert!(!folder.path().join("sub").exists());
    }

    #[test]
    fn a_path_that_leads_out_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        std::os::unix::fs::symlink("..", folder.path().join("root/up")).unwrap();
        let root = fs::File::open(folder.path().join("root")).unwrap();
        for path in ["../x", "up/x", "/tmp/x"] {
            let change = Change::Created(Kind::File);
            let announcement = Announcement { path: path.as_bytes().to_vec(), change };
            assert!(super::replay(&root, &announcement, || Ok(())).is_err(), "{path}");
        }
        assert!(!folder.path().join("x").exists());
    }
}
