//! clone3(2) into new namespaces and a cgroup at once, then exec.
//!
//! Our process has many threads, and the child is a copy of one of them: locks that another thread held stay held
//! forever in it. So between clone and exec it does nothing but system calls on memory prepared before.
#![expect(unsafe_code, reason = "clone3(2) has no safe wrapper, and what follows it cannot be safe")]

use std::ffi::{CStr, CString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::linux::child::Started;

const NAMESPACES: libc::c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
/// From linux/sched.h; the crate `libc` has it in a type that is too small.
const CLONE_INTO_CGROUP: u64 = 1 << 33;
const ENVIRONMENT: &CStr = c"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A child to be started.
pub(super) struct Plan {
    /// Path of the program.
    pub(super) program: CString,
    /// Its arguments, its own name first.
    pub(super) arguments: Vec<CString>,
    /// Becomes its standard output and error.
    pub(super) output: OwnedFd,
    /// Folder of the cgroup it starts in, the root of its cgroup namespace.
    pub(super) cgroup: OwnedFd,
    /// Stays open in it under the same number.
    pub(super) inherited: OwnedFd,
}

/// Starts it; it is killed when the calling thread ends. Returns when the program runs, or with the reason why not.
pub(super) fn start(plan: &Plan) -> io::Result<Started> {
    let null = std::fs::File::open("/dev/null")?;
    let arguments: Vec<_> =
        plan.arguments.iter().map(|argument| argument.as_ptr()).chain([ptr::null()]).collect();
    let environment = [ENVIRONMENT.as_ptr(), ptr::null()];
    let (mut failure, tell_failure) = io::pipe()?;
    // Never written: while the far end is open, the parent lives.
    let (parent_lives, parent) = io::pipe()?;
    let child = Prepared {
        program: plan.program.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        input: null.as_fd(),
        output: plan.output.as_fd(),
        inherited: plan.inherited.as_fd(),
        parent_lives: parent_lives.as_fd(),
        parent: parent.as_raw_fd(),
        tell_failure: tell_failure.as_raw_fd(),
    };

    let mut descriptor: libc::c_int = -1;
    // SAFETY: integers and addresses only, for which zero means "none".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = (NAMESPACES | libc::CLONE_PIDFD) as u64 | CLONE_INTO_CGROUP;
    arguments.pidfd = &raw mut descriptor as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = plan.cgroup.as_raw_fd() as u64;
    // SAFETY: without CLONE_VM the child gets a copy of the memory and goes on on its own copy of this stack, as
    // after fork(2); it runs `become_program` only, which is made for that and never returns.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut arguments, std::mem::size_of::<libc::clone_args>())
    };
    match pid {
        -1 => return Err(io::Error::last_os_error()),
        0 => child.become_program(),
        _ => {}
    }
    // SAFETY: clone3 succeeded and stored a new descriptor, which nobody else owns.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    drop(tell_failure);
    drop(parent_lives);

    let mut errno = [0; size_of::<i32>()];
    match failure.read_exact(&mut errno) {
        // Closed by the exec.
        Err(_) => {
            // The child has made its check; from here on the parent-death signal does it.
            drop(parent);
            Ok(Started { pid: pid as u32, descriptor })
        }
        Ok(()) => {
            // Reaped here, because nobody else gets to know of it.
            let _ = rustix::process::waitid(
                rustix::process::WaitId::PidFd(descriptor.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
    }
}

/// All that the child needs, allocated before it exists.
struct Prepared<'a> {
    program: *const libc::c_char,
    arguments: *const *const libc::c_char,
    environment: *const *const libc::c_char,
    input: BorrowedFd<'a>,
    output: BorrowedFd<'a>,
    inherited: BorrowedFd<'a>,
    parent_lives: BorrowedFd<'a>,
    parent: RawFd,
    tell_failure: RawFd,
}

impl Prepared<'_> {
    /// Runs in the child. Async-signal-safe: rustix makes bare system calls on this platform.
    fn become_program(&self) -> ! {
        let errno = match self.prepare() {
            Ok(()) => {
                // SAFETY: the pointers are to NUL-terminated strings and NULL-terminated lists that the parent
                // keeps for the length of the call, and this process has its own copy of them.
                unsafe { libc::execve(self.program, self.arguments, self.environment) };
                // SAFETY: the address is of this thread's own variable.
                unsafe { *libc::__errno_location() }
            }
            Err(errno) => errno.raw_os_error(),
        };
        let bytes = errno.to_ne_bytes();
        // SAFETY: the bytes are on this stack; the descriptor is this process's copy. If it fails, the parent finds
        // the process ended instead.
        unsafe { libc::write(self.tell_failure, bytes.as_ptr().cast(), bytes.len()) };
        // SAFETY: ends this process without running what the parent registered for its own end.
        unsafe { libc::_exit(127) }
    }

    fn prepare(&self) -> rustix::io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before that line sends no signal, and getppid(2) tells nothing across PID namespaces.
        // SAFETY: this process's copy; nothing else in this process uses the number.
        unsafe { rustix::io::close(self.parent) };
        let mut lives = [PollFd::from_borrowed_fd(self.parent_lives, PollFlags::IN)];
        if poll(&mut lives, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? != 0 {
            return Err(rustix::io::Errno::SRCH);
        }
        rustix::process::setsid()?;
        // Only now: the namespace's root is the cgroup its maker is in, which was the parent's during clone3.
        // SAFETY: a process of one thread; this changes what cgroup files show, no memory.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }?;
        rustix::stdio::dup2_stdin(self.input)?;
        rustix::stdio::dup2_stdout(self.output)?;
        rustix::stdio::dup2_stderr(self.output)?;
        rustix::io::fcntl_setfd(self.inherited, rustix::io::FdFlags::empty())?;
        self.reset_signals();
        Ok(())
    }

    /// The ignored SIGPIPE of a Rust program, and any blocked signal, would outlive exec.
    fn reset_signals(&self) {
        // SAFETY: sets a default action; there is one thread.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        // SAFETY: zero is a valid start value, filled by the next line.
        let mut none: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: the set is this stack's.
        unsafe { libc::sigemptyset(&raw mut none) };
        // SAFETY: reads the set just made.
        unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
    }
}
