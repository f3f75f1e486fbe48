//! The life of a created container, in one thread around one poll:
//!
//! ```text
//!   Running ── its first process is reaped ──► Draining ── streams at their end ──► Exited ── forgotten ──► over
//! ```
//!
//! Output goes to the log and to every attached client. A client that reads slowly holds up the container once
//! its buffer is full, as with Docker, and loses nothing; one that is gone is dropped. After the exit nothing waits
//! for clients any more: what the pipes still hold is little, and the exit must be told.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holm_api::stream::Channel;
use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::read;

use super::cgroup::Cgroup;
use super::connection::{Connection, Input, OUTPUT_BOUND, Pending, Role};
use super::create::NewContainer;
use super::input::ContainerInput;
use super::log::LogWriter;
use super::protocol::{ExitStatus, Failure, Reply, Request, ShimConfig};
use super::rootfs::Rootfs;
use super::{leftovers, signal, streams};

/// How long output may go on after the exit, where a process outside of the container holds its streams open.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes that wait for an attached client after the exit: more than pipes hold, so that the exit is told whether it
/// reads or not.
const DRAIN_BOUND: usize = 4 << 20;
/// How long an exited container's shim waits to be forgotten.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes of output that are read at once.
const CHUNK: usize = 32 * 1024;
/// Connections that are served at once; more wait to be accepted.
const MOST_CONNECTIONS: usize = 200;

/// A container and everything that concerns it.
pub(super) struct Server {
    config: ShimConfig,
    container: libcontainer::container::Container,
    pid: i32,
    owns_pids: bool,
    cgroup: Cgroup,
    rootfs: Option<Rootfs>,
    outputs: Vec<(Channel, OwnedFd)>,
    input: ContainerInput,
    terminal: Option<OwnedFd>,
    log: Option<LogWriter>,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    life: Life,
}

enum Life {
    Running,
    Draining { status: ExitStatus, deadline: Instant },
    Exited { status: ExitStatus, since: Instant, forgotten: bool },
}

/// Who is ready.
#[derive(Clone, Copy)]
enum Ready {
    Signal,
    Listener,
    Input,
    Output(usize),
    Connection(usize),
}

impl Server {
    /// `signals` brings SIGCHLD and what asks the shim to end, all of them blocked otherwise since before the
    /// container was created.
    pub(super) fn new(
        config: ShimConfig,
        new: NewContainer,
        log: Option<LogWriter>,
        listener: UnixListener,
        signals: SignalFd,
    ) -> Self {
        let input = ContainerInput::new(new.streams.input, config.stdin, new.streams.terminal.is_some());
        Self {
            config,
            container: new.container,
            pid: new.pid,
            owns_pids: new.owns_pids,
            cgroup: new.cgroup,
            rootfs: Some(new.rootfs),
            outputs: new.streams.outputs,
            input,
            terminal: new.streams.terminal,
            log,
            listener,
            signals,
            connections: Vec::new(),
            life: Life::Running,
        }
    }

    /// Serves until the container has exited and nothing is left to tell.
    pub(super) fn serve(mut self) -> io::Result<()> {
        while !self.is_over() {
            for (who, flags) in self.wait()? {
                self.handle(who, flags);
            }
            if let Life::Draining { deadline, .. } = self.life
                && (self.outputs.is_empty() || Instant::now() >= deadline)
            {
                self.conclude();
            }
            self.connections.iter_mut().for_each(Connection::flush);
            self.connections.retain(|connection| !connection.is_over());
        }
        fs::remove_file(&self.config.socket)
    }

    fn is_over(&self) -> bool {
        let Life::Exited { since, forgotten, .. } = &self.life else { return false };
        (*forgotten || since.elapsed() >= LINGER) && !self.connections.iter().any(Connection::is_sending)
    }

    fn wait(&self) -> io::Result<Vec<(Ready, PollFlags)>> {
        let mut who = vec![Ready::Signal];
        let mut polled = vec![PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN)];
        let mut add = |ready, descriptor, flags| {
            who.push(ready);
            polled.push(PollFd::from_borrowed_fd(descriptor, flags));
        };
        if self.connections.len() < MOST_CONNECTIONS {
            add(Ready::Listener, self.listener.as_fd(), PollFlags::IN);
        }
        if let Some(descriptor) = self.input.blocked() {
            add(Ready::Input, descriptor, PollFlags::OUT);
        }
        let bound = if matches!(self.life, Life::Running) { OUTPUT_BOUND } else { DRAIN_BOUND };
        for (index, (channel, descriptor)) in self.outputs.iter().enumerate() {
            if self.connections.iter().all(|connection| connection.has_room(*channel, bound)) {
                add(Ready::Output(index), descriptor.as_fd(), PollFlags::IN);
            }
        }
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(flags) = connection.interest(self.input.has_room()) {
                add(Ready::Connection(index), connection.as_fd(), flags);
            }
        }
        match poll(&mut polled, self.timeout().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().map(PollFd::revents).zip(who).filter(|(flags, _)| !flags.is_empty());
        // Outputs may be removed as they end, so the last one comes first.
        Ok(ready.map(|(flags, who)| (who, flags)).rev().collect())
    }

    fn timeout(&self) -> Option<Timespec> {
        let until = match &self.life {
            Life::Running => return None,
            Life::Draining { deadline, .. } => *deadline,
            Life::Exited { since, .. } if since.elapsed() < LINGER => *since + LINGER,
            Life::Exited { .. } => return None,
        };
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        Timespec::try_from(left).ok()
    }

    fn handle(&mut self, who: Ready, flags: PollFlags) {
        match who {
            Ready::Signal => self.take_signals(),
            Ready::Listener => self.accept(),
            Ready::Input => self.input.flush(),
            Ready::Output(index) => self.copy_output(index),
            Ready::Connection(index) => {
                if flags.contains(PollFlags::HUP) || flags.contains(PollFlags::ERR) {
                    self.connections[index].hung_up();
                }
                if flags.contains(PollFlags::IN) {
                    self.take_from(index);
                }
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo != libc::SIGCHLD as u32 {
                tracing::info!("killing the container: asked to end by signal {}", signal.ssi_signo);
                self.kill();
            }
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid.as_raw() == self.pid => self.exited(code),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == self.pid => {
                    self.exited(128 + signal as i32);
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn kill(&self) {
        if matches!(self.life, Life::Running) {
            // It cannot be reaped already, so its number is its own.
            let _ = signal::send(self.pid, libc::SIGKILL);
        }
    }

    fn exited(&mut self, code: i32) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let status = ExitStatus { code, oom_killed: self.cgroup.oom_killed(), unix_nanos };
        if !self.owns_pids
            && let Err(error) = self.cgroup.signal(libc::SIGKILL)
        {
            tracing::warn!("cannot end what is left of the container: {error}");
        }
        self.input.close();
        self.life = Life::Draining { status, deadline: Instant::now() + DRAIN_DEADLINE };
    }

    fn copy_output(&mut self, index: usize) {
        let (channel, descriptor) = &self.outputs[index];
        let channel = *channel;
        let mut buffer = [0; CHUNK];
        match read(descriptor, &mut buffer) {
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            // A terminal's end is an error: nobody holds its other side open.
            Ok(0) | Err(_) => drop(self.outputs.remove(index)),
            Ok(length) => {
                let bytes = &buffer[..length];
                if let Some(log) = &mut self.log
                    && let Err(error) = log.write(channel, bytes, SystemTime::now())
                {
                    tracing::error!("cannot write the container's log: {error}");
                }
                for connection in &mut self.connections {
                    connection.output(channel, bytes);
                }
            }
        }
    }

    fn accept(&mut self) {
        match self.listener.accept().and_then(|(stream, _)| Connection::new(stream)) {
            Ok(connection) => self.connections.push(connection),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => tracing::warn!("cannot accept a connection: {error}"),
        }
    }

    fn take_from(&mut self, index: usize) {
        while let Some(request) = self.connections[index].request() {
            self.answer(index, request);
        }
        let connection = &mut self.connections[index];
        let Role::Attached { stdin, .. } = connection.role else { return };
        match connection.input() {
            Input::Bytes(bytes) if stdin => self.input.push(&bytes),
            Input::End if stdin => self.input.client_ended(),
            _ => {}
        }
    }

    fn answer(&mut self, index: usize, request: Request) {
        let reply = match request {
            Request::Start => done(self.container.start().map_err(|e| Failure::of_creation(&e.to_string()))),
            Request::Signal { signal, all } => done(self.signal(signal, all)),
            Request::Resize(size) => {
                let resized =
                    self.terminal.as_ref().map_or(Ok(()), |terminal| streams::resize(terminal, size));
                done(resized.map_err(Failure::of_daemon))
            }
            Request::State => Reply::State { pid: self.pid, exit: self.exit().cloned() },
            Request::Wait => match self.exit() {
                Some(status) => Reply::Exited(status.clone()),
                None => return self.postpone(index, Pending::Exit),
            },
            Request::Attach { stdin, stdout, stderr } => {
                let connection = &mut self.connections[index];
                connection.reply(&Reply::Attached);
                connection.role = Role::Attached { stdin, stdout, stderr };
                if self.exit().is_some() {
                    self.connections[index].finish();
                }
                return;
            }
            Request::Forget => match &mut self.life {
                Life::Exited { forgotten, .. } => {
                    *forgotten = true;
                    Reply::Done
                }
                Life::Draining { .. } => return self.postpone(index, Pending::CleanUp),
                Life::Running => Reply::Failed(Failure::of_daemon("the container has not exited")),
            },
        };
        self.connections[index].reply(&reply);
    }

    fn exit(&self) -> Option<&ExitStatus> {
        match &self.life {
            Life::Exited { status, .. } => Some(status),
            _ => None,
        }
    }

    fn postpone(&mut self, index: usize, request: Pending) {
        self.connections[index].role = Role::Asking { pending: Some(request) };
    }

    fn signal(&self, number: i32, all: bool) -> Result<(), Failure> {
        if !matches!(self.life, Life::Running) {
            return Err(Failure::of_daemon("the container has exited"));
        }
        if all {
            self.cgroup.signal(number).map_err(Failure::of_daemon)
        } else {
            signal::send(self.pid, number).map_err(|e: Errno| Failure::of_daemon(io::Error::from(e)))
        }
    }

    /// All output is in the log: tells the exit, then gives everything back that the container had.
    fn conclude(&mut self) {
        let Life::Draining { status, .. } = std::mem::replace(&mut self.life, Life::Running) else { return };
        self.outputs.clear();
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish(SystemTime::now())
        {
            tracing::error!("cannot write the end of the container's log: {error}");
        }
        if let Err(error) = write_exit(&self.config, &status) {
            tracing::error!("cannot write {}: {error}", self.config.exit_file.display());
        }
        for connection in &mut self.connections {
            match connection.role {
                Role::Asking { pending: Some(Pending::Exit) } => {
                    connection.reply(&Reply::Exited(status.clone()))
                }
                Role::Attached { .. } => connection.finish(),
                Role::Asking { .. } => {}
            }
            // Now, because unmounting may take its time: overlayfs syncs the file system below.
            connection.flush();
        }
        self.clean_up();
        let mut forgotten = false;
        for connection in &mut self.connections {
            if matches!(connection.role, Role::Asking { pending: Some(Pending::CleanUp) }) {
                connection.reply(&Reply::Done);
                forgotten = true;
            }
        }
        self.life = Life::Exited { status, since: Instant::now(), forgotten };
    }

    fn clean_up(&mut self) {
        if let Err(error) = leftovers::remove(&self.config.runtime, &self.config.id, &self.cgroup) {
            tracing::error!("cannot remove the container's cgroup: {error}");
        }
        if let Some(Err(error)) = self.rootfs.take().map(Rootfs::unmount) {
            tracing::error!("cannot unmount the container's root: {error}");
        }
    }
}

fn done(result: Result<(), Failure>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    }
}

fn write_exit(config: &ShimConfig, status: &ExitStatus) -> io::Result<()> {
    let temporary = config.exit_file.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(status)?)?;
    fs::rename(temporary, &config.exit_file)
}
