//! Sending a signal by its number, which may be a real-time signal that nix and rustix have no name for.
#![expect(unsafe_code, reason = "kill(2) with any number has no safe wrapper")]

use nix::errno::Errno;

/// Sends `signal` to the process `pid`, never to a group.
pub(super) fn send(pid: i32, signal: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill(2) takes two numbers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}
