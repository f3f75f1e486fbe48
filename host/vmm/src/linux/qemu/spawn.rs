//! Starts a program that dies with the calling thread and inherits chosen descriptors.
#![expect(unsafe_code, reason = "what runs between fork and exec must be told to be async-signal-safe")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

/// Most descriptors that one program inherits here.
const MOST: usize = 4;

/// The descriptors keep their numbers.
pub(super) fn spawn(mut command: Command, inherited: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let parent = getpid();
    // Copied, for the closure must own what it uses; the descriptors stay open until `spawn` below has returned.
    let mut numbers = [None; MOST];
    for (number, descriptor) in numbers.iter_mut().zip(inherited) {
        *number = Some(descriptor.as_raw_fd());
    }
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // A parent that died before that line sends no signal.
        if getppid() != Some(parent) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        for number in numbers.into_iter().flatten() {
            // SAFETY: open in the parent for the length of `spawn`, and so in its copy.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    };
    // SAFETY: system calls only, on memory that is the closure's own; nothing is allocated or locked.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}
