//! The way into a container that runs: its cgroup, its namespaces, its terminals. Opened before the container's
//! first program runs, so that nothing that it does to itself can lead elsewhere.
#![expect(unsafe_code, reason = "clone3(2) has no safe wrapper")]

use std::fs::File;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, major, minor, open, openat2};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::unlockpt;

use crate::shim::cgroup::Cgroup;

/// All of a container's namespaces but that of process ids, which only a process' birth puts it into.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWCGROUP);
/// The crate's constant has too few bits (sched.h).
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
/// `DEVPTS_SUPER_MAGIC`
const DEVPTS: i64 = 0x1cd1;
/// The number of `/dev/ptmx`.
const PTMX: (u32, u32) = (5, 2);

/// A container, as a further process enters it.
#[derive(Debug)]
pub(in crate::shim) struct Entrance {
    /// The container's first process.
    first: OwnedFd,
    first_pid: i32,
    cgroup: Cgroup,
    /// The root as the container's processes see it, mounts and all.
    root: OwnedFd,
    /// Our own namespace of process ids, to come back to.
    own_pids: OwnedFd,
}

impl Entrance {
    /// Of a container whose first process waits for its start.
    pub(in crate::shim) fn open(first_pid: i32, cgroup: Cgroup) -> io::Result<Self> {
        let pid = Pid::from_raw(first_pid).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            first: pidfd_open(pid, PidfdFlags::empty())?,
            first_pid,
            cgroup,
            root: open(format!("/proc/{first_pid}/root"), folder, Mode::empty())?,
            own_pids: File::open("/proc/self/ns/pid")?.into(),
        })
    }

    /// Starts a process that is born into the container's cgroup and process ids, and is a copy of this one
    /// otherwise. Returns its number in both: 0 is the new process itself, which must end without returning to
    /// the caller's caller. This process must have one thread.
    pub(super) fn fork(&self) -> io::Result<i32> {
        let born = setns(&self.first, CloneFlags::CLONE_NEWPID)
            .map_err(io::Error::from)
            .and_then(|()| self.clone_into_cgroup());
        if matches!(born, Ok(0)) {
            return born;
        }
        // Where this failed, a later process would be born into the container all the same: nothing else is.
        setns(&self.own_pids, CloneFlags::CLONE_NEWPID)?;
        born
    }

    fn clone_into_cgroup(&self) -> io::Result<i32> {
        match clone3(self.cgroup.open()?.as_fd()) {
            // The container has groups of its own below it, and processes in those only: its first one's is as
            // good as any.
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                clone3(Cgroup::of_process(self.first_pid)?.open()?.as_fd())
            }
            other => other,
        }
    }

    /// Enters what [`Self::fork`] has not: to be called by the new process.
    pub(super) fn join(&self) -> io::Result<()> {
        Ok(setns(&self.first, NAMESPACES)?)
    }

    /// The controlling side of a new terminal of the container.
    pub(super) fn terminal(&self) -> io::Result<OwnedFd> {
        // The container may have put anything in this place, so only the device itself will do.
        let how = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let looked = openat2(&self.root, "dev/pts/ptmx", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), how)?;
        let stat = fstat(&looked)?;
        let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && (major(stat.st_rdev), minor(stat.st_rdev)) == PTMX
            && fstatfs(&looked)?.f_type == DEVPTS;
        if !is_device {
            return Err(io::Error::other("/dev/pts/ptmx is no terminal multiplexer"));
        }
        let path = format!("/proc/self/fd/{}", looked.as_raw_fd());
        let master = open(Path::new(&path), OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        unlockpt(&master)?;
        Ok(master)
    }
}

/// fork(2), into a cgroup. Moving a process there later would wait for all processors.
fn clone3(cgroup: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: all fields are numbers, for which zero means nothing wanted.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: no memory is shared and no stack is given, so this is fork(2); this process has one thread, so its
    // copy finds every lock as it should be.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::try_from(pid).expect("the kernel's process ids have 22 bits"))
}
