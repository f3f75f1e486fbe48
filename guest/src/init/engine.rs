//! Starting the engine, letting it go on, and hearing from it that it serves.
//!
//! At boot it is started before the disk is mounted and the host is met, so that loading it takes none of the time
//! that those take; it waits until it is let go and reads nothing before.
#![expect(unsafe_code, reason = "std starts no child with a descriptor at a given number")]

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::dup2;
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

use super::boot::{Boot, Place};
use super::{cgroups, private_root};
use crate::transport::Transport;

/// Where the engine finds the pipe.
const READY_DESCRIPTOR: RawFd = 3;
/// Where the engine finds the socket that containers reach it by.
const SOCKET_DESCRIPTOR: RawFd = 4;
/// Where the engine finds the pipe on which it waits. Its other end goes with init.
const GO_DESCRIPTOR: RawFd = 5;
/// Copies of descriptors are above all that the engine gets.
const FIRST_COPY: RawFd = 10;
/// What it writes there.
const READY: &[u8] = b"ready\n";
/// What it reads there.
const GO: &[u8] = b"go\n";

/// An engine that was started and waits.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) pid: Pid,
    ready: PipeReader,
    go: PipeWriter,
}

impl Started {
    /// All is there that it needs. Returns where it will say that it serves. Call it inside a tokio runtime.
    pub(super) fn let_go(mut self) -> io::Result<Receiver> {
        // One that has ended does not read, and its end is the reaper's to notice.
        let _ = self.go.write_all(GO);
        Receiver::from_owned_fd(OwnedFd::from(self.ready))
    }
}

/// Starts it. Its end is the reaper's to notice.
pub(super) fn start(boot: &Boot) -> io::Result<Started> {
    let (ready, told) = io::pipe()?;
    let (waits, go) = io::pipe()?;
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
    let (told, waits) = (copy(told.as_fd())?, copy(waits.as_fd())?);
    let socket = boot.inside.as_ref().map(|inside| copy(inside.as_fd())).transpose()?;
    let inherited = [
        (Some(&told), READY_DESCRIPTOR),
        (socket.as_ref(), SOCKET_DESCRIPTOR),
        (Some(&waits), GO_DESCRIPTOR),
    ];
    let inherited = inherited.map(|(descriptor, number)| descriptor.map(|from| (from.as_raw_fd(), number)));
    let inherit =
        move || inherited.iter().flatten().try_for_each(|(from, to)| Ok(dup2(*from, *to).map(drop)?));
    // SAFETY: dup2(2) is async-signal-safe, and the closure allocates nothing. What it copies is open until after
    // the start, and above the numbers that it takes, which are no descriptors of std's own in the child.
    unsafe { command.pre_exec(inherit) };
    let child = command.spawn()?;
    drop((told, waits, socket));
    // Not fatal: its limits are none, and only its statistics would be missing.
    if let Err(error) = cgroups::enter(cgroups::ENGINE, child.id()) {
        tracing::warn!(%error, "the engine stays in init's cgroup");
    }
    // Dropping a `Child` neither kills nor waits, and waiting is the reaper's.
    Ok(Started { pid: Pid::from_child(&child), ready, go })
}

fn copy(descriptor: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, FIRST_COPY)?)
}

/// Returns when the engine serves; `false` when it closed the pipe without saying so.
pub(super) async fn serves(ready: &mut Receiver) -> bool {
    let mut said = [0; READY.len()];
    ready.read_exact(&mut said).await.is_ok() && said == READY
}
