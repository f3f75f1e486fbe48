//! fanotify(7) with names (`FAN_REPORT_DFID_NAME`, Linux 5.9; for ordinary users 5.13).
#![expect(unsafe_code, reason = "fanotify and name_to_handle_at have no safe wrapper that knows names")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::process;

use rustix::fs::statfs;
use tokio::io::unix::AsyncFd;

use super::{Event, FolderId, Seen, What};

/// What is told of a folder and the files in it.
const ALWAYS: u64 = libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CLOSE_WRITE
    | libc::FAN_EVENT_ON_CHILD
    | libc::FAN_ONDIR;
/// Linux 5.17.
const FAN_RENAME: u64 = 0x1000_0000;
/// Before that: a name goes, another one comes, and nobody says that they are of one file.
const MOVES: u64 = libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;

const INFO_NAME: u8 = 2;
const INFO_OLD_NAME: u8 = 10;
const INFO_NEW_NAME: u8 = 12;
/// Bytes of `struct fanotify_event_metadata`.
const EVENT_HEADER: usize = 24;
/// Bytes before the file handle in `struct fanotify_event_info_fid`.
const INFO_HEADER: usize = 12;
/// Bytes of a handle before its own: how many there are, and their kind.
const HANDLE_HEADER: usize = 8;
/// MAX_HANDLE_SZ.
const LONGEST_HANDLE: usize = 128;
/// Of one read; some hundred events.
const BUFFER: usize = 32 << 10;

/// One share's watches. They go with it.
#[derive(Debug)]
pub(crate) struct Watch {
    group: AsyncFd<File>,
}

/// `struct file_handle` with room.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    handle: [u8; LONGEST_HANDLE],
}

impl Watch {
    /// Watches nothing yet. Needs a tokio runtime. An error where the kernel is too old or has no more to give.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_REPORT_DIR_FID
            | libc::FAN_REPORT_NAME;
        // SAFETY: takes numbers alone.
        let group = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        if group < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let group = unsafe { OwnedFd::from_raw_fd(group) };
        // SAFETY: a `File` owns its descriptor and gives it up only when it is dropped.
        Ok(Self { group: unsafe { AsyncFd::register(File::from(group)) }? })
    }

    /// Watches a folder, however often it is asked.
    pub(crate) fn watch(&self, folder: BorrowedFd<'_>) -> io::Result<FolderId> {
        let id = identity(folder)?;
        match self.mark(folder, libc::FAN_MARK_ONLYDIR, ALWAYS | FAN_RENAME) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.mark(folder, libc::FAN_MARK_ONLYDIR, ALWAYS | MOVES)?;
            }
            result => result?,
        }
        Ok(id)
    }

    /// Watches a file; events name the folder that it is in.
    pub(crate) fn watch_file(&self, file: BorrowedFd<'_>) -> io::Result<FolderId> {
        let id = identity(file)?;
        self.mark(file, 0, libc::FAN_MODIFY | libc::FAN_ATTRIB | libc::FAN_CLOSE_WRITE)?;
        Ok(id)
    }

    fn mark(&self, object: BorrowedFd<'_>, flags: u32, mask: u64) -> io::Result<()> {
        // By way of /proc, because the descriptor may be one that opens nothing (`O_PATH`).
        let path = CString::new(format!("/proc/self/fd/{}", object.as_raw_fd())).map_err(io::Error::other)?;
        // SAFETY: the group is open, and the path ends in NUL.
        let marked = unsafe {
            libc::fanotify_mark(
                self.group.get_ref().as_raw_fd(),
                libc::FAN_MARK_ADD | flags,
                mask,
                libc::AT_FDCWD,
                path.as_ptr(),
            )
        };
        if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What has happened; waits until something has. May be dropped while it waits without losing any.
    pub(crate) async fn read(&self) -> io::Result<Vec<Seen>> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let mut ready = self.group.readable().await?;
            match ready.try_io(|group| group.get_ref().read(&mut buffer)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => {
                    let count = result?;
                    return Ok(events(&buffer[..count], process::id()));
                }
                Err(_would_block) => {}
            }
        }
    }
}

/// As events will call it: the file system's id and the folder's handle in it.
fn identity(folder: BorrowedFd<'_>) -> io::Result<FolderId> {
    let mut handle = Handle { bytes: LONGEST_HANDLE as u32, kind: 0, handle: [0; LONGEST_HANDLE] };
    let mut mount = 0;
    // SAFETY: the handle has the room that it says it has, and the empty path means the descriptor itself.
    let named = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            folder.as_raw_fd(),
            c"".as_ptr(),
            &raw mut handle,
            &raw mut mount,
            libc::AT_EMPTY_PATH,
        )
    };
    if named != 0 {
        return Err(io::Error::last_os_error());
    }
    // `/proc/self/fd` again: fstatfs(2) takes any descriptor, and its field is private to libc.
    let system = statfs(format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd()))?;
    // SAFETY: `fsid_t` is two numbers (`__kernel_fsid_t`) without padding.
    let id: [u8; 8] = unsafe { std::mem::transmute(system.f_fsid) };
    let mut bytes = id.to_vec();
    bytes.extend_from_slice(&handle.bytes.to_ne_bytes());
    bytes.extend_from_slice(&handle.kind.to_ne_bytes());
    bytes.extend_from_slice(handle.handle.get(..handle.bytes as usize).unwrap_or_default());
    Ok(FolderId(bytes))
}

/// The kernel's events, in their order.
fn events(mut bytes: &[u8], us: u32) -> Vec<Seen> {
    let mut all = Vec::new();
    while let Some(length) = number(bytes, 0).map(|length| length as usize)
        && let Some(event) = bytes.get(..length)
        && length >= EVENT_HEADER
    {
        all.extend(seen(event, us));
        bytes = &bytes[length..];
    }
    all
}

fn seen(event: &[u8], us: u32) -> Option<Seen> {
    let mask = u64::from(number(event, 8)?) | u64::from(number(event, 12)?) << 32;
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Some(Seen::Overflow);
    }
    let process = number(event, 20)?;
    let by_us = process == us;
    let is_folder = mask & libc::FAN_ONDIR != 0;
    let (mut place, mut new) = (None, None);
    let mut infos = &event[usize::from(u16::from_ne_bytes([event[6], event[7]]))..];
    while let [kind, _, low, high, ..] = *infos {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let info = infos.get(..length).filter(|info| info.len() > INFO_HEADER)?;
        match kind {
            INFO_NAME | INFO_OLD_NAME => place = named(info),
            INFO_NEW_NAME => new = named(info),
            _ => {}
        }
        infos = &infos[length..];
    }
    let is = |bit: u64| mask & bit != 0;
    let mut what = Vec::new();
    let (folder, name) = match (place, new) {
        // Out of a folder that is not watched.
        (None, Some(new)) => {
            what.push(What::Created);
            new
        }
        (Some(place), new) => {
            what.extend(is(libc::FAN_CREATE | libc::FAN_MOVED_TO).then_some(What::Created));
            what.extend(is(libc::FAN_MODIFY).then_some(What::Modified));
            what.extend(is(libc::FAN_CLOSE_WRITE).then_some(What::Written));
            what.extend(is(libc::FAN_ATTRIB).then_some(What::Attributes));
            what.extend(is(libc::FAN_DELETE | libc::FAN_MOVED_FROM).then_some(What::Removed));
            what.extend(is(FAN_RENAME).then_some(What::Renamed(new)));
            place
        }
        (None, None) => return None,
    };
    (!what.is_empty()).then_some(Seen::Event(Event { folder, name, what, is_folder, by_us, process }))
}

/// A folder and a name in it; `.` is the folder itself.
fn named(info: &[u8]) -> Option<(FolderId, OsString)> {
    let handle = number(info, INFO_HEADER)? as usize;
    let end = (INFO_HEADER + HANDLE_HEADER).checked_add(handle)?;
    let id = info.get(4..end)?;
    let name = info.get(end..)?.split(|byte| *byte == 0).next()?;
    let name = if name == b"." { &[] } else { name };
    Some((FolderId(id.to_vec()), OsString::from_vec(name.to_vec())))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    async fn read(watch: &Watch) -> Vec<Event> {
        let seen = tokio::time::timeout(Duration::from_secs(30), watch.read()).await.unwrap().unwrap();
        let event = |seen| match seen {
            Seen::Event(event) => event,
            Seen::Overflow => panic!("an overflow"),
        };
        seen.into_iter().map(event).collect()
    }

    fn folder() -> (tempfile::TempDir, File) {
        let folder = tempfile::tempdir().unwrap();
        let opened = File::open(folder.path()).unwrap();
        (folder, opened)
    }

    #[tokio::test]
    async fn what_this_process_does_is_told_apart_from_what_others_do() {
        let (folder, opened) = folder();
        let watch = Watch::new().unwrap();
        let id = watch.watch(opened.as_fd()).unwrap();
        fs::create_dir(folder.path().join("ours")).unwrap();
        let mut mkdir = Command::new("mkdir").arg(folder.path().join("theirs")).spawn().unwrap();
        assert!(mkdir.wait().unwrap().success());
        let made: Vec<_> = read(&watch).await;
        let event = |name: &str, by_us, process| Event {
            folder: id.clone(),
            name: name.into(),
            what: vec![What::Created],
            is_folder: true,
            by_us,
            process,
        };
        assert_eq!(made, [event("ours", true, process::id()), event("theirs", false, mkdir.id())]);
    }

    #[tokio::test]
    async fn a_rename_names_both_places() {
        let (folder, opened) = folder();
        fs::create_dir(folder.path().join("sub")).unwrap();
        fs::write(folder.path().join("a"), "x").unwrap();
        let watch = Watch::new().unwrap();
        let id = watch.watch(opened.as_fd()).unwrap();
        let sub = watch.watch(File::open(folder.path().join("sub")).unwrap().as_fd()).unwrap();
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        fs::rename(folder.path().join("b"), folder.path().join("sub/c")).unwrap();
        let events = read(&watch).await;
        assert_eq!(events[0].what, [What::Renamed(Some((id.clone(), "b".into())))]);
        assert_eq!((&events[1].folder, events[1].name.to_str()), (&id, Some("b")));
        assert_eq!(events[1].what, [What::Renamed(Some((sub, "c".into())))]);
    }

    #[tokio::test]
    async fn changes_of_content_and_of_the_folder_itself_are_told() {
        let (folder, opened) = folder();
        fs::write(folder.path().join("a"), "x").unwrap();
        let watch = Watch::new().unwrap();
        watch.watch(opened.as_fd()).unwrap();
        fs::write(folder.path().join("a"), "y").unwrap();
        let events = read(&watch).await;
        assert_eq!((events[0].name.to_str(), events[0].is_folder), (Some("a"), false));
        assert_eq!(events[0].what, [What::Modified, What::Written]);
        let rights = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        fs::set_permissions(folder.path(), rights).unwrap();
        let events = read(&watch).await;
        assert_eq!((events[0].name.to_str(), events[0].what.as_slice()), (Some(""), &[What::Attributes][..]));
    }

    #[test]
    fn cut_short_events_are_none() {
        for length in 0..EVENT_HEADER + 4 {
            assert_eq!(events(&vec![24; length], 1), [], "{length}");
        }
    }
}
