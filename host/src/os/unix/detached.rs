//! Programs that go on when the terminal that started them is gone.
#![expect(unsafe_code, reason = "the new session has to begin between fork and exec")]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Starts the command in a session of its own, so that neither Ctrl-C nor a closed terminal reaches it.
pub(crate) fn spawn_detached(command: &mut Command) -> io::Result<Child> {
    // SAFETY: setsid(2) is async-signal-safe, and the closure touches no memory of the parent.
    unsafe { command.pre_exec(|| Ok(rustix::process::setsid().map(|_| ())?)) };
    command.spawn()
}
