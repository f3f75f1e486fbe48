//! The backends of Linux hosts, and what they share: a child process that is the machine.

mod child;
mod console;
mod disk_lock;
mod leftover;
mod process;
mod qemu;

pub(crate) use process::Process;
pub(crate) use qemu::Qemu;
