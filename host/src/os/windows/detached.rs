//! Programs that go on when the console that started them is gone.

use std::io;
use std::os::windows::process::CommandExt;
use std::process::{Child, Command};

/// No console at all (Process Creation Flags).
const DETACHED_PROCESS: u32 = 0x8;
/// Ctrl-C in the parent's console does not reach it.
const CREATE_NEW_PROCESS_GROUP: u32 = 0x200;

/// Starts the command without the console of this one.
pub(crate) fn spawn_detached(command: &mut Command) -> io::Result<Child> {
    command.creation_flags(DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP).spawn()
}
