//! The life of a created container, in one thread around one poll:
//!
//! ```text
//!   Running ── its first process is reaped ──► Draining ── streams at their end ──► Exited ── forgotten ──► over
//! ```
//!
//! Output goes to the log and to every attached client. A client that reads slowly holds up the container once
//! its buffer is full, as with Docker, and loses nothing; one that is gone is dropped. After the exit nothing waits
//! for clients any more: what the pipes still hold is little, and the exit must be told.

mod execs;

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use holm_api::stream::Channel;
use nix::errno::Errno;
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cgroup::Cgroup;
use super::connection::{Connection, Input, OUTPUT_BOUND, Pending, Process, Role};
use super::create::NewContainer;
use super::exec::{Entrance, Exec};
use super::input::ContainerInput;
use super::log::LogWriter;
use super::output::ContainerOutput;
use super::protocol::{ExitStatus, Failure, Reply, Request, ShimConfig};
use super::rootfs::Rootfs;
use super::{leftovers, protocol, signal, streams};
use execs::Part;

/// How long output may go on after the exit, where a process outside of the container holds its streams open.
const DRAIN_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes that wait for an attached client after the exit: more than pipes hold, so that the exit is told whether it
/// reads or not.
const DRAIN_BOUND: usize = 4 << 20;
/// How long an exited container's shim waits to be forgotten.
const LINGER: Duration = Duration::from_secs(10);
/// Bytes of output that are read at once.
const CHUNK: usize = 64 * 1024;
/// Connections that are served at once; more wait to be accepted. Two for each further process, and others.
const MOST_CONNECTIONS: usize = 1200;

/// A container and everything that concerns it.
pub(super) struct Server {
    bundle: PathBuf,
    config: ShimConfig,
    container: libcontainer::container::Container,
    pid: i32,
    owns_pids: bool,
    cgroup: Cgroup,
    rootfs: Option<Rootfs>,
    outputs: Vec<ContainerOutput>,
    input: ContainerInput,
    terminal: Option<OwnedFd>,
    log: Option<LogWriter>,
    listener: UnixListener,
    signals: SignalFd,
    connections: Vec<Connection>,
    /// What was read last. Its pages are touched by output alone, and most containers write little.
    buffer: Vec<u8>,
    /// Until the container has exited.
    entrance: Option<Entrance>,
    execs: Vec<Exec>,
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
    Output(Channel),
    Exec(usize, Part),
    Connection(usize),
}

/// What is waited for.
#[derive(Default)]
struct Poll<'a> {
    who: Vec<Ready>,
    polled: Vec<PollFd<'a>>,
}

impl<'a> Poll<'a> {
    fn add(&mut self, who: Ready, descriptor: &'a impl AsFd, flags: PollFlags) {
        self.add_borrowed(who, descriptor.as_fd(), flags);
    }

    fn add_borrowed(&mut self, who: Ready, descriptor: BorrowedFd<'a>, flags: PollFlags) {
        self.who.push(who);
        self.polled.push(PollFd::from_borrowed_fd(descriptor, flags));
    }
}

impl Server {
    /// `signals` brings SIGCHLD and what asks the shim to end, all of them blocked otherwise since before the
    /// container was created.
    pub(super) fn new(
        bundle: PathBuf,
        config: ShimConfig,
        new: NewContainer,
        log: Option<LogWriter>,
        listener: UnixListener,
        signals: SignalFd,
    ) -> Self {
        let input = ContainerInput::new(new.streams.input, config.stdin, new.streams.terminal.is_some());
        Self {
            bundle,
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
            buffer: vec![0; CHUNK],
            entrance: Some(new.entrance),
            execs: Vec::new(),
            life: Life::Running,
        }
    }

    /// Serves until the container has exited and nothing is left to tell.
    pub(super) fn serve(mut self) -> io::Result<()> {
        while !self.is_over() {
            for (who, flags) in self.wait()? {
                self.handle(who, flags);
            }
            self.conclude_execs();
            if let Life::Draining { deadline, .. } = self.life
                && ((self.outputs.is_empty() && self.execs.is_empty() && !self.is_compressing())
                    || Instant::now() >= deadline)
            {
                self.conclude();
            }
            self.connections.iter_mut().for_each(Connection::flush);
            let execs = &self.execs;
            self.connections.retain(|connection| !connection.is_over() && !is_stray(connection, execs));
        }
        fs::remove_file(&self.config.socket)
    }

    fn is_compressing(&self) -> bool {
        self.log.as_ref().is_some_and(LogWriter::is_compressing)
    }

    fn is_over(&self) -> bool {
        let Life::Exited { since, forgotten, .. } = &self.life else { return false };
        (*forgotten || since.elapsed() >= LINGER) && !self.connections.iter().any(Connection::is_sending)
    }

    fn wait(&self) -> io::Result<Vec<(Ready, PollFlags)>> {
        let mut waits = Poll::default();
        waits.add(Ready::Signal, &self.signals, PollFlags::IN);
        if self.connections.len() < MOST_CONNECTIONS {
            waits.add(Ready::Listener, &self.listener, PollFlags::IN);
        }
        if let Some(descriptor) = self.input.blocked() {
            waits.add_borrowed(Ready::Input, descriptor, PollFlags::OUT);
        }
        let bound = if matches!(self.life, Life::Running) { OUTPUT_BOUND } else { DRAIN_BOUND };
        let now = Instant::now();
        // After the exit a log may grow past its size: there is not much to come.
        let held_up =
            matches!(self.life, Life::Running) && self.log.as_ref().is_some_and(LogWriter::is_held_up);
        for output in &self.outputs {
            let channel = output.channel();
            let room = |connection: &Connection| connection.has_room(&Process::First, channel, bound);
            if !held_up && self.connections.iter().all(room) && self.rest_of(output, now).is_none() {
                waits.add(Ready::Output(channel), output, PollFlags::IN);
            }
        }
        self.poll_execs(&mut waits, now);
        for (index, connection) in self.connections.iter().enumerate() {
            if let Some(flags) = connection.interest(self.wants_input_of(connection)) {
                waits.add(Ready::Connection(index), connection, flags);
            }
        }
        let Poll { who, mut polled } = waits;
        match poll(&mut polled, self.timeout(now).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = polled.iter().map(PollFd::revents).zip(who).filter(|(flags, _)| !flags.is_empty());
        Ok(ready.map(|(flags, who)| (who, flags)).collect())
    }

    /// Whether what this client writes has room. Nobody waits for a process that is not there any more, or not yet:
    /// the bytes of the latter wait in the connection.
    fn wants_input_of(&self, connection: &Connection) -> bool {
        match connection.attached_to() {
            Some(Process::Exec(id)) => {
                self.execs.iter().find(|exec| exec.id == *id).is_some_and(|exec| exec.input.has_room())
            }
            Some(Process::First) | None => self.input.has_room(),
        }
    }

    /// Until when an output is left alone. Nobody waits for one that is about to end.
    fn rest_of(&self, output: &ContainerOutput, now: Instant) -> Option<Instant> {
        output.rests_until(now).filter(|_| matches!(self.life, Life::Running))
    }

    fn timeout(&self, now: Instant) -> Option<Timespec> {
        let until = match &self.life {
            Life::Running => None,
            Life::Draining { deadline, .. } => Some(*deadline),
            Life::Exited { since, .. } if since.elapsed() < LINGER => Some(*since + LINGER),
            Life::Exited { .. } => None,
        };
        let outputs = self.outputs.iter().chain(self.execs.iter().flat_map(|exec| &exec.outputs));
        let rests = outputs.filter_map(|output| self.rest_of(output, now));
        let first = until.into_iter().chain(self.exec_deadline()).chain(rests).min()?;
        Timespec::try_from(first.saturating_duration_since(now)).ok()
    }

    fn handle(&mut self, who: Ready, flags: PollFlags) {
        match who {
            Ready::Signal => self.take_signals(),
            Ready::Listener => self.accept(),
            Ready::Input => self.input.flush(),
            Ready::Output(channel) => self.copy_output(channel),
            Ready::Exec(index, part) => self.handle_exec(index, part),
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
                Ok(WaitStatus::Exited(pid, code)) => self.other_exited(pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.other_exited(pid.as_raw(), 128 + signal as i32);
                }
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn other_exited(&mut self, pid: i32, code: i32) {
        if let Some(log) = &mut self.log {
            log.child_ended(pid);
        }
        self.exec_exited(pid, code);
    }

    fn kill(&self) {
        if matches!(self.life, Life::Running) {
            // It cannot be reaped already, so its number is its own.
            let _ = signal::send(self.pid, libc::SIGKILL);
        }
    }

    fn exited(&mut self, code: i32) {
        let status = exit_status(code, &self.cgroup);
        if !self.owns_pids
            && let Err(error) = self.cgroup.signal(libc::SIGKILL)
        {
            tracing::warn!("cannot end what is left of the container: {error}");
        }
        self.input.close();
        // It holds on to the container's root.
        self.entrance = None;
        self.life = Life::Draining { status, deadline: Instant::now() + DRAIN_DEADLINE };
    }

    fn copy_output(&mut self, channel: Channel) {
        let Some(bytes) = streams::read_output(&mut self.outputs, channel, &mut self.buffer) else { return };
        if let Some(log) = &mut self.log
            && let Err(error) = log.write(channel, bytes, SystemTime::now())
        {
            tracing::error!("cannot write the container's log: {error}");
        }
        for connection in &mut self.connections {
            connection.output(&Process::First, channel, bytes);
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
        let Role::Attached { to, streams } = &connection.role else { return };
        let (to, wanted) = (to.clone(), streams.stdin);
        let target = match &to {
            Process::First => Some(&mut self.input),
            Process::Exec(id) => {
                self.execs.iter_mut().find(|exec| exec.id == *id).map(|exec| &mut exec.input)
            }
        };
        match (connection.input(), target) {
            (Input::Bytes(bytes), Some(input)) if wanted => input.push(&bytes),
            (Input::End, Some(input)) if wanted => input.client_ended(),
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
            Request::Attach(streams) => return self.attach(index, Process::First, streams),
            Request::AttachAfterLog(streams) => return self.attach_after_log(index, streams),
            Request::AttachExec { id, streams } => return self.attach(index, Process::Exec(id), streams),
            Request::CheckUser(user) => self.check_user(&user),
            Request::Exec(config) => return self.exec(index, &config),
            Request::ResizeExec { id, size } => {
                let exec = self.running_exec(&id);
                done(exec.and_then(|exec| exec.resize(size).map_err(Failure::of_daemon)))
            }
            Request::SignalExec { id, signal } => done(self.signal_exec(&id, signal)),
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

    fn attach(&mut self, index: usize, to: Process, streams: protocol::Streams) {
        let over = self.exit().is_some();
        let connection = &mut self.connections[index];
        connection.reply(&Reply::Attached);
        connection.role = Role::Attached { to, streams };
        if over {
            connection.finish();
        }
    }

    fn attach_after_log(&mut self, index: usize, streams: protocol::Streams) {
        let end = match self.log.as_ref().map(LogWriter::end).transpose() {
            Ok(end) => end,
            Err(error) => return self.connections[index].reply(&Reply::Failed(Failure::of_daemon(error))),
        };
        let over = self.exit().is_some();
        let connection = &mut self.connections[index];
        connection.reply(&Reply::AttachedAfter(end));
        connection.role = Role::Attached { to: Process::First, streams };
        for (channel, text) in self.log.iter().flat_map(LogWriter::unfinished) {
            if !text.is_empty() {
                connection.output(&Process::First, channel, text);
            }
        }
        if over {
            connection.finish();
        }
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
        self.abandon_execs();
        if let Some(log) = &mut self.log
            && let Err(error) = log.finish(SystemTime::now())
        {
            tracing::error!("cannot write the end of the container's log: {error}");
        }
        if let Err(error) = write_exit(&self.config, &status) {
            tracing::error!("cannot write {}: {error}", self.config.exit_file.display());
        }
        for connection in &mut self.connections {
            match &connection.role {
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

/// A client that is gone and came for a process that was never started: nobody reads what it left.
fn is_stray(connection: &Connection, execs: &[Exec]) -> bool {
    match connection.attached_to() {
        Some(Process::Exec(id)) => connection.is_gone() && execs.iter().all(|exec| exec.id != *id),
        _ => false,
    }
}

fn done(result: Result<(), Failure>) -> Reply {
    match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    }
}

/// Of a process that was reaped just now.
fn exit_status(code: i32, cgroup: &Cgroup) -> ExitStatus {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let unix_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    ExitStatus { code, oom_killed: cgroup.oom_killed(), unix_nanos }
}

fn write_exit(config: &ShimConfig, status: &ExitStatus) -> io::Result<()> {
    let temporary = config.exit_file.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(status)?)?;
    fs::rename(temporary, &config.exit_file)
}
