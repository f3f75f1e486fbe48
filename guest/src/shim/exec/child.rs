//! The steps by which a copy of the shim becomes a further process of the container: who it is, what it may do,
//! and its program. The order is that of runc's `setns` process, for the same reasons.
#![expect(unsafe_code, reason = "descriptors are replaced and closed by number, and _exit(2)")]

use std::cell::Cell;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::syscall::create_syscall;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, setgroups, setsid};
use oci_spec::runtime::{LinuxSeccomp, Process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::ioctl_tiocsctty;

use super::entrance::Entrance;
use super::privileges;
use crate::container::users::ResolvedUser;
use crate::shim::protocol::{ExecConfig, Failure, ShimConfig};
use crate::shim::rootfs::Rootfs;
use crate::shim::streams::Theirs;
use crate::shim::{bundle, create, execute};

/// Where the failure is told, once everything else is closed.
const REPORT: RawFd = 3;
/// Characters of a failure that are told: with all their escapes they fit into a pipe.
const LONGEST_MESSAGE: usize = 4096;

/// What the new process gets.
pub(super) enum Stdio {
    /// Three ends of pipes.
    Pipes(Theirs),
    /// A terminal.
    Terminal(OwnedFd),
}

/// All that it needs to know.
pub(super) struct Plan<'a> {
    pub(super) bundle: &'a Path,
    pub(super) shim: &'a ShimConfig,
    pub(super) rootfs: &'a Rootfs,
    pub(super) exec: &'a ExecConfig,
    pub(super) entrance: &'a Entrance,
    pub(super) stdio: &'a Stdio,
    /// Closes when the process is its program; a [`Failure`] comes first where it cannot be.
    pub(super) report: Report,
}

/// Where a process tells that it cannot become its program.
#[derive(Debug)]
pub(super) struct Report(Cell<RawFd>);

impl Report {
    /// Into this pipe.
    pub(super) fn into(pipe: &OwnedFd) -> Self {
        Self(Cell::new(pipe.as_raw_fd()))
    }

    fn tell(&self, mut failure: Failure) {
        // In one piece, however long the name of a program that is not there.
        failure.message = failure.message.chars().take(LONGEST_MESSAGE).collect();
        let text = serde_json::to_vec(&failure).expect("a kind and a text");
        // SAFETY: write(2) reads `text` only. Nobody is left to tell if it fails.
        unsafe { libc::write(self.0.get(), text.as_ptr().cast(), text.len()) };
    }

    /// Closes everything beside this and the standard streams: a working folder or a program named
    /// `/proc/self/fd/7` must lead nowhere.
    fn close_others(&self) -> io::Result<()> {
        // SAFETY: dup3(2) and close_range(2) by number: whoever owns these descriptors is a copy of the shim's
        // data, which this process never looks at again.
        unsafe {
            if self.0.get() != REPORT {
                Errno::result(libc::dup3(self.0.get(), REPORT, libc::O_CLOEXEC))?;
                self.0.set(REPORT);
            }
            Errno::result(libc::syscall(libc::SYS_close_range, REPORT + 1, libc::c_uint::MAX, 0))?;
        }
        Ok(())
    }

    /// Whether somebody still listens.
    fn is_heard(&self) -> bool {
        // SAFETY: open until this process is its program.
        let report = unsafe { BorrowedFd::borrow_raw(self.0.get()) };
        let mut polled = [PollFd::from_borrowed_fd(report, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
    }
}

/// All that is left is to be it.
struct Program {
    file: PathBuf,
    arguments: Vec<CString>,
    variables: Vec<CString>,
}

impl Plan<'_> {
    /// Ends as the program does, or tells why it cannot.
    pub(super) fn carry_out(&self) -> ! {
        // Standard error is soon the container's, in which nothing of ours may appear.
        let _quiet = tracing::subscriber::set_default(tracing::subscriber::NoSubscriber::new());
        std::panic::set_hook(Box::new(|_| {}));
        let failure = match catch_unwind(AssertUnwindSafe(|| self.prepare())) {
            Ok(Ok(program)) => execute::become_program(&program.file, &program.arguments, &program.variables),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::of_exec("a bug in the runtime"),
        };
        self.report.tell(failure);
        // SAFETY: ends this process, whatever a copy of the shim would do at its end otherwise.
        unsafe { libc::_exit(255) }
    }

    fn prepare(&self) -> Result<Program, Failure> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |e: Errno| Failure::of_exec(&format!("{what}: {}", execute::words(e)))
        };
        let system = |e: io::Error| {
            Failure::of_exec(
                &e.raw_os_error().map_or(e.to_string(), |code| execute::words(Errno::from_raw(code))),
            )
        };
        let (spec, _) = bundle::read(self.bundle).map_err(system)?;
        let process = spec.process().clone().unwrap_or_default();
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().clone());
        drop(spec);
        let user = create::resolve_user(&self.exec.user, self.shim, self.rootfs)?;

        setsid().map_err(failed("setsid"))?;
        self.take_streams(user.uid).map_err(system)?;
        if let Some(score) = process.oom_score_adj() {
            fs::write("/proc/self/oom_score_adj", score.to_string()).map_err(system)?;
        }
        self.entrance.join().map_err(system)?;
        self.report.close_others().map_err(system)?;

        let limits = create_syscall();
        for limit in process.rlimits().iter().flatten() {
            limits.set_rlimit(limit).map_err(|e| Failure::of_exec(&e.to_string()))?;
        }
        let no_new_privileges = process.no_new_privileges() == Some(true);
        if no_new_privileges {
            prctl::set_no_new_privs().map_err(failed("set no_new_privs"))?;
        } else {
            // Without that flag it takes a right that is about to go.
            restrict_calls(seccomp.as_ref())?;
        }
        self.change(&process, &user)?;
        let mut variables = self.exec.env.clone();
        create::set_home(&mut variables, &user);
        let name = self.exec.args.first().map_or("", String::as_str);
        let file = execute::find(name, execute::path_of(&variables)).map_err(|e| Failure::of_exec(&e))?;
        self.die_with_shim()?;
        if no_new_privileges {
            restrict_calls(seccomp.as_ref())?;
        }
        let arguments = execute::strings([&self.exec.args]);
        Ok(Program { file, arguments, variables: execute::strings([&variables]) })
    }

    /// They belong to the user: programs open `/dev/stdout` and `/dev/tty` by their names.
    fn take_streams(&self, uid: u32) -> io::Result<()> {
        let streams = match self.stdio {
            Stdio::Pipes(theirs) => [&theirs.stdin, &theirs.stdout, &theirs.stderr],
            Stdio::Terminal(slave) => {
                ioctl_tiocsctty(slave)?;
                [slave; 3]
            }
        };
        for (stream, number) in streams.into_iter().zip(0..) {
            let stat = rustix::fs::fstat(stream)?;
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            let is_ours = kind == rustix::fs::FileType::Fifo || matches!(self.stdio, Stdio::Terminal(_));
            if is_ours {
                rustix::fs::fchown(stream, Some(rustix::fs::Uid::from_raw(uid)), None)?;
            }
            // SAFETY: dup2(2) by number: the standard streams are nobody's but the process'.
            Errno::result(unsafe { libc::dup2(stream.as_raw_fd(), number) })?;
        }
        Ok(())
    }

    /// Becomes the user, in its folder, with its capabilities.
    fn change(&self, process: &Process, user: &ResolvedUser) -> Result<(), Failure> {
        let failed =
            |what: String| move |e: Errno| Failure::of_exec(&format!("{what}: {}", execute::words(e)));
        let cwd = &self.exec.cwd;
        let in_folder = || format!("chdir to cwd ({cwd:?}) set in config.json failed");
        let later = match chdir(cwd.as_path()) {
            Ok(()) => false,
            // A folder that root may not enter, on a network's file system, may be the user's all the same.
            Err(Errno::EACCES | Errno::EPERM) => true,
            Err(error) => return Err(failed(in_folder())(error)),
        };
        let groups: Vec<_> = user.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        setgroups(&groups).map_err(failed("setgroups".to_owned()))?;
        create_syscall()
            .set_id(Uid::from_raw(user.uid), Gid::from_raw(user.gid))
            .map_err(|e| Failure::of_exec(&format!("unable to set the user: {e}")))?;
        privileges::keep(process.capabilities().as_ref(), self.exec.privileged)
            .map_err(|e| Failure::of_exec(&format!("unable to apply caps: {e}")))?;
        if later {
            chdir(cwd.as_path()).map_err(failed(in_folder()))?;
        }
        // A folder outside of the container has no path in it.
        let here = nix::unistd::getcwd().map_err(failed("getcwd".to_owned()))?;
        if !here.is_absolute() {
            return Err(Failure::of_exec(
                "current working directory is outside of container mount namespace root -- possible container breakout detected",
            ));
        }
        Ok(())
    }

    fn die_with_shim(&self) -> Result<(), Failure> {
        prctl::set_pdeathsig(Signal::SIGKILL)
            .map_err(|e| Failure::of_exec(&format!("set pdeathsig: {}", execute::words(e))))?;
        // A shim that died before this has taken the other end of the pipe along.
        if self.report.is_heard() { Ok(()) } else { Err(Failure::of_exec("the container's shim is gone")) }
    }
}

fn restrict_calls(seccomp: Option<&LinuxSeccomp>) -> Result<(), Failure> {
    let Some(seccomp) = seccomp else { return Ok(()) };
    let loaded = initialize_seccomp(seccomp);
    loaded.map(drop).map_err(|e| Failure::of_exec(&format!("unable to init seccomp: {e}")))
}
