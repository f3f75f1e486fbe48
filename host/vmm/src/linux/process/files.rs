//! Folders that a machine's containers have mounted, when who served them is gone: in the middle of a request not even
//! SIGKILL ends a process, and while a thread of the server is in the middle of a notification nothing ends the
//! request. The kernel's own control file system does (Documentation/filesystems/fuse.rst).
#![cfg_attr(test, expect(unsafe_code, reason = "a thread's own view of mounts has no safe wrapper"))]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// What pumps mount.
const FILE_SYSTEM: &str = "fuse.holm";

/// What processes see. Held, so that no number of a connection becomes another machine's.
#[derive(Default)]
struct Seen {
    namespaces: BTreeMap<u64, File>,
    connections: BTreeSet<u32>,
}

/// Ends all requests to the shared folders that processes of the cgroup see, with errors.
pub(super) fn abort(cgroup: &Path) -> io::Result<()> {
    let mut seen = Seen::default();
    seen.look(cgroup);
    for connection in &seen.connections {
        abort_one(*connection)?;
    }
    Ok(())
}

impl Seen {
    fn look(&mut self, cgroup: &Path) {
        for process in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
            // What cannot be opened or read has gone so far in its end that it waits for nobody.
            let Ok(namespace) = File::open(format!("/proc/{process}/ns/mnt")) else { continue };
            let Ok(number) = namespace.metadata().map(|namespace| namespace.ino()) else { continue };
            if self.namespaces.insert(number, namespace).is_some() {
                continue;
            }
            let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
            self.connections.extend(mounts.lines().filter_map(connection));
        }
        for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.look(&entry.path());
            }
        }
    }
}

/// Of a line of proc_pid_mountinfo(5): the minor number of its device.
fn connection(line: &str) -> Option<u32> {
    let (mount, file_system) = line.split_once(" - ")?;
    let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
    (file_system.split(' ').next() == Some(FILE_SYSTEM) && major == "0").then_some(())?;
    minor.parse().ok()
}

/// By a mount of the control file system that nobody else sees.
fn abort_one(connection: u32) -> io::Result<()> {
    let control = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&control)?;
    let control = fsmount(&control, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    match openat(&control, format!("{connection}/abort"), flags, Mode::empty()) {
        // It has ended by itself.
        Err(rustix::io::Errno::NOENT) => Ok(()),
        file => Ok(rustix::io::write(&file?, b"1").map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::thread;

    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    use rustix::thread::UnshareFlags;

    use super::*;

    #[test]
    fn shared_folders_are_told_from_other_mounts() {
        let line = |number: &str, file_system: &str| {
            format!("64 30 {number} / /h/with\\040space rw,nosuid master:7 - {file_system} holm rw,user_id=0")
        };
        assert_eq!(connection(&line("0:57", "fuse.holm")), Some(57));
        assert_eq!(connection(&line("0:57", "fuse.sshfs")), None);
        assert_eq!(connection(&line("8:1", "fuse.holm")), None);
        assert_eq!(connection("64 30 0:57 / / rw"), None);
    }

    #[test]
    fn whoever_waits_for_a_server_that_is_gone_gets_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        // Opened, and nobody reads from it: as if its server hung.
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        let (tell, told) = std::sync::mpsc::channel();
        let asking = thread::spawn(move || {
            // SAFETY: a thread's own view of mounts; it changes no memory.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let options = std::ffi::CString::new(options).unwrap();
            mount("holm", &at, "fuse.holm", MountFlags::empty(), options.as_c_str()).unwrap();
            let of_this_thread = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let ours = of_this_thread.lines().find(|line| line.contains(at.to_str().unwrap())).unwrap();
            tell.send(connection(ours).unwrap()).unwrap();
            statx(CWD, &at, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS).map(drop)
        });
        abort_one(told.recv().unwrap()).unwrap();
        assert!(asking.join().unwrap().is_err());
        assert!(abort_one(u32::MAX).is_ok(), "one that has ended");
        drop(device);
    }
}
