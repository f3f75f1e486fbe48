//! A further process of the container (`exec`), as the shim keeps it:
//!
//! ```text
//!   Starting ── it is its program ──► Running ── reaped ──► Draining ── streams at their end ──► gone
//!       └────── it could not be ────────────────────────────────────────────────────────────────► gone
//! ```
//!
//! [`entrance`] is the way into the container, [`child`] what the new process does there.

mod child;
mod entrance;
mod privileges;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Instant;

use holm_api::ExecId;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};

pub(super) use entrance::Entrance;

use super::input::ContainerInput;
use super::output::ContainerOutput;
use super::protocol::{ExecConfig, ExitStatus, Failure, ShimConfig, Stdin};
use super::rootfs::Rootfs;
use super::streams::{self, Streams};
use child::{Plan, Report, Stdio};

/// Bytes of a failure's report that are read at most.
const LONGEST_REPORT: u64 = 64 * 1024;

/// One further process.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) id: ExecId,
    pub(super) pid: i32,
    pub(super) outputs: Vec<ContainerOutput>,
    pub(super) input: ContainerInput,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) stage: Stage,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is not its program yet. The pipe closes when it is.
    Starting(OwnedFd),
    /// It is.
    Running,
    /// It has ended; its streams may hold the last of its output.
    Draining {
        /// How.
        status: ExitStatus,
        /// When to wait no longer for the end of its streams, which another process may hold open.
        deadline: Instant,
    },
}

/// Starts a process in the container. Whether it becomes its program is told by [`Exec::started`].
pub(super) fn start(
    bundle: &Path,
    shim: &ShimConfig,
    rootfs: &Rootfs,
    entrance: &Entrance,
    exec: &ExecConfig,
) -> io::Result<Exec> {
    let (ours, stdio) = make_streams(entrance, exec)?;
    // The reading end does not block; who writes is a process of its own.
    let (report, reporter) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    let pid = entrance.fork()?;
    if pid == 0 {
        let report = Report::into(&reporter);
        Plan { bundle, shim, rootfs, exec, entrance, stdio: &stdio, report }.carry_out();
    }
    let stdin = if exec.stdin { Stdin::Once } else { Stdin::Null };
    Ok(Exec {
        id: exec.id.clone(),
        pid,
        outputs: ours.outputs,
        input: ContainerInput::new(ours.input, stdin, ours.terminal.is_some()),
        terminal: ours.terminal,
        stage: Stage::Starting(report),
    })
}

fn make_streams(entrance: &Entrance, exec: &ExecConfig) -> io::Result<(Streams, Stdio)> {
    let stdin = if exec.stdin { Stdin::Once } else { Stdin::Null };
    // The new process gives them to its user, whom it finds out.
    let owner = 0;
    let Some(size) = exec.terminal else {
        let (ours, theirs) = Streams::pipes(stdin, owner)?;
        return Ok((ours, Stdio::Pipes(theirs)));
    };
    let master = entrance.terminal()?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok((Streams::terminal(master, size, stdin, owner)?, Stdio::Terminal(slave)))
}

impl Exec {
    /// Whether it became its program, which the pipe of [`Stage::Starting`] has told by its end. `None` in any
    /// other stage, and while nothing is told.
    pub(super) fn started(&mut self) -> Option<Result<(), Failure>> {
        let Stage::Starting(report) = &self.stage else { return None };
        let mut told = Vec::new();
        let report = File::from(report.try_clone().ok()?);
        match report.take(LONGEST_REPORT).read_to_end(&mut told) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && told.is_empty() => return None,
            // It was told in one piece, and then nothing.
            Err(_) => {}
        }
        self.stage = Stage::Running;
        if told.is_empty() {
            return Some(Ok(()));
        }
        Some(Err(serde_json::from_slice(&told).unwrap_or_else(|e| Failure::of_exec(&e.to_string()))))
    }

    /// Whether it has ended, and no more output of it is to be expected.
    pub(super) fn has_drained(&self) -> bool {
        match &self.stage {
            Stage::Draining { deadline, .. } => self.outputs.is_empty() || Instant::now() >= *deadline,
            _ => false,
        }
    }

    /// Gives its terminal, if it has one, another size.
    pub(super) fn resize(&self, size: super::protocol::WindowSize) -> io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |terminal| streams::resize(terminal, size))
    }
}
