//! Starting the engine, and hearing from it that it serves.
#![expect(unsafe_code, reason = "std starts no child with a descriptor at a given number")]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::dup2;
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::boot::{Boot, Place};
use super::{cgroups, private_root};
use crate::transport::Transport;

/// Where the engine finds the pipe.
const READY_DESCRIPTOR: RawFd = 3;
/// What it writes there.
const READY: &[u8] = b"ready\n";

/// An engine that was started and has not said that it serves.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    pub(super) ready: Receiver,
}

/// Starts it. Its end is the reaper's to notice.
pub(super) fn start(boot: &Boot) -> io::Result<Started> {
    let (ready, told) = io::pipe()?;
    let ready = Receiver::from_owned_fd(OwnedFd::from(ready))?;
    let mut command = Command::new(&boot.program);
    command.arg("engine").arg("--data").arg(boot.layout.data()).arg("--run").arg(boot.layout.run());
    if let Transport::Unix(folder) = &boot.transport {
        command.arg("--sockets").arg(folder);
    }
    if matches!(boot.place, Place::Process { .. }) {
        command.arg("--computer").arg(private_root::COMPUTER);
    }
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", "/");
    command.current_dir("/").stdin(Stdio::null());
    let pipe = told.as_raw_fd();
    // SAFETY: dup2(2) and fcntl(2) are async-signal-safe, and the closure allocates nothing. `told` is open until
    // after the start, and has taken the number 3 or another one has, so it is no descriptor of std's own.
    unsafe { command.pre_exec(move || become_descriptor(pipe)) };
    let child = command.spawn()?;
    drop(told);
    // Not fatal: its limits are none, and only its statistics would be missing.
    if let Err(error) = cgroups::enter(cgroups::ENGINE, child.id()) {
        tracing::warn!(%error, "the engine stays in init's cgroup");
    }
    // Dropping a `Child` neither kills nor waits, and waiting is the reaper's.
    Ok(Started { pid: Pid::from_child(&child), ready })
}

fn become_descriptor(pipe: RawFd) -> io::Result<()> {
    if pipe == READY_DESCRIPTOR {
        // dup2 onto itself would leave it to be closed by the exec.
        fcntl(pipe, FcntlArg::F_SETFD(FdFlag::empty()))?;
    } else {
        dup2(pipe, READY_DESCRIPTOR)?;
    }
    Ok(())
}

/// Returns when the engine serves; `false` when it closed the pipe without saying so.
pub(super) async fn serves(ready: &mut Receiver) -> bool {
    let mut said = [0; READY.len()];
    ready.read_exact(&mut said).await.is_ok() && said == READY
}
