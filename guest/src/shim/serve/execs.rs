//! Further processes: how the server starts them, moves their bytes, and tells of their end.

use std::time::Instant;

use holm_api::ExecId;
use holm_api::stream::Channel;
use nix::errno::Errno;
use rustix::event::PollFlags;

use super::{DRAIN_BOUND, DRAIN_DEADLINE, Life, Poll, Ready, Server, done, exit_status};
use crate::shim::connection::{OUTPUT_BOUND, Pending, Process, Role};
use crate::shim::create::resolve_user;
use crate::shim::exec::{self, Exec, Stage};
use crate::shim::protocol::{ExecConfig, ExitStatus, Failure, Reply};
use crate::shim::{signal, streams};

/// Further processes that run at once. Each takes up to five of the shim's descriptors.
const MOST_EXECS: usize = 512;

/// What of a further process is ready.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Report,
    Input,
    Output(Channel),
}

impl Server {
    /// Runs a further process for the connection with this index, which hears of it twice.
    pub(super) fn exec(&mut self, index: usize, config: &ExecConfig) {
        match self.try_exec(config) {
            Ok(exec) => {
                self.execs.push(exec);
                self.postpone(index, Pending::Exec(config.id.clone()));
            }
            Err(failure) => {
                self.connections[index].reply(&Reply::Failed(failure));
                self.finish_attached(&config.id);
            }
        }
    }

    fn try_exec(&self, config: &ExecConfig) -> Result<Exec, Failure> {
        let (Life::Running, Some(entrance), Some(rootfs)) = (&self.life, &self.entrance, &self.rootfs) else {
            return Err(Failure::of_exec("the container has exited"));
        };
        if self.execs.len() >= MOST_EXECS {
            return Err(Failure::of_exec(&format!("{MOST_EXECS} further processes run already")));
        }
        exec::start(&self.bundle, &self.config, rootfs, entrance, config)
            .map_err(|e| Failure::of_exec(&e.to_string()))
    }

    /// Whether there is such a user in the container.
    pub(super) fn check_user(&self, user: &str) -> Reply {
        match &self.rootfs {
            Some(rootfs) => done(resolve_user(user, &self.config, rootfs).map(drop)),
            None => Reply::Failed(Failure::of_daemon("the container has exited")),
        }
    }

    /// The running process with this id.
    pub(super) fn running_exec(&self, id: &ExecId) -> Result<&Exec, Failure> {
        let found = self.execs.iter().find(|exec| exec.id == *id);
        found
            .filter(|exec| !matches!(exec.stage, Stage::Draining { .. }))
            .ok_or_else(|| Failure::of_daemon("process does not exist"))
    }

    /// Sends a further process a signal.
    pub(super) fn signal_exec(&self, id: &ExecId, number: i32) -> Result<(), Failure> {
        let exec = self.running_exec(id)?;
        // It is not reaped, so its number is its own.
        signal::send(exec.pid, number).map_err(|e: Errno| Failure::of_daemon(std::io::Error::from(e)))
    }

    /// Adds what is to be waited for.
    pub(super) fn poll_execs<'a>(&'a self, polled: &mut Poll<'a>, now: Instant) {
        for (index, exec) in self.execs.iter().enumerate() {
            let bound = if matches!(exec.stage, Stage::Draining { .. }) { DRAIN_BOUND } else { OUTPUT_BOUND };
            let process = Process::Exec(exec.id.clone());
            if let Stage::Starting(report) = &exec.stage {
                polled.add(Ready::Exec(index, Part::Report), report, PollFlags::IN);
            }
            if let Some(descriptor) = exec.input.blocked() {
                polled.add_borrowed(Ready::Exec(index, Part::Input), descriptor, PollFlags::OUT);
            }
            for output in &exec.outputs {
                let channel = output.channel();
                let room = |connection: &super::Connection| connection.has_room(&process, channel, bound);
                if self.connections.iter().all(room) && self.rest_of(output, now).is_none() {
                    polled.add(Ready::Exec(index, Part::Output(channel)), output, PollFlags::IN);
                }
            }
        }
    }

    /// When the first of those that have ended is waited for no longer.
    pub(super) fn exec_deadline(&self) -> Option<Instant> {
        let deadlines = self.execs.iter().filter_map(|exec| match &exec.stage {
            Stage::Draining { deadline, .. } => Some(*deadline),
            _ => None,
        });
        deadlines.min()
    }

    /// Something of a further process is ready.
    pub(super) fn handle_exec(&mut self, index: usize, part: Part) {
        match part {
            Part::Report => self.exec_started(index),
            Part::Input => self.execs[index].input.flush(),
            Part::Output(channel) => {
                let exec = &mut self.execs[index];
                let process = Process::Exec(exec.id.clone());
                if let Some(bytes) = streams::read_output(&mut exec.outputs, channel, &mut self.buffer) {
                    for connection in &mut self.connections {
                        connection.output(&process, channel, bytes);
                    }
                }
            }
        }
    }

    fn exec_started(&mut self, index: usize) {
        let exec = &mut self.execs[index];
        let Some(outcome) = exec.started() else { return };
        let (id, pid) = (exec.id.clone(), exec.pid);
        match outcome {
            Ok(()) => self.tell_exec(&id, &Reply::Started { pid }, true),
            Err(failure) => {
                // Nobody hears of its end: it never was.
                self.tell_exec(&id, &Reply::Failed(failure), false);
                self.finish_attached(&id);
                self.execs[index].outputs.clear();
            }
        }
    }

    /// The process with this number was reaped; it may be none of ours.
    pub(super) fn exec_exited(&mut self, pid: i32, code: i32) {
        let Some(index) = self.execs.iter().position(|exec| exec.pid == pid) else { return };
        // It may have ended before its start was noticed.
        self.exec_started(index);
        let status = exit_status(code, &self.cgroup);
        let exec = &mut self.execs[index];
        exec.input.close();
        exec.stage = Stage::Draining { status, deadline: Instant::now() + DRAIN_DEADLINE };
    }

    /// Tells of those that have ended, and forgets them.
    pub(super) fn conclude_execs(&mut self) {
        while let Some(index) = self.execs.iter().position(Exec::has_drained) {
            let exec = self.execs.remove(index);
            if let Stage::Draining { status, .. } = exec.stage {
                self.tell_exec_exit(&exec.id, status);
            }
        }
    }

    /// The container is over, and so is everything in it.
    pub(super) fn abandon_execs(&mut self) {
        for exec in std::mem::take(&mut self.execs) {
            let status = match exec.stage {
                Stage::Draining { status, .. } => status,
                Stage::Starting(_) | Stage::Running => exit_status(128 + libc::SIGKILL, &self.cgroup),
            };
            self.tell_exec_exit(&exec.id, status);
        }
        for connection in &mut self.connections {
            // Also those who came for a process that nobody has started.
            if matches!(connection.attached_to(), Some(Process::Exec(_))) {
                connection.finish();
            }
        }
    }

    fn tell_exec_exit(&mut self, id: &ExecId, status: ExitStatus) {
        self.tell_exec(id, &Reply::Exited(status), false);
        // First the exit, then the end of the streams, so that whoever sees the latter can ask for the former.
        self.connections.iter_mut().for_each(super::Connection::flush);
        self.finish_attached(id);
    }

    fn tell_exec(&mut self, id: &ExecId, reply: &Reply, more_follows: bool) {
        let waits =
            |role: &Role| matches!(role, Role::Asking { pending: Some(Pending::Exec(of)) } if of == id);
        for connection in self.connections.iter_mut().filter(|connection| waits(&connection.role)) {
            connection.reply(reply);
            if more_follows {
                connection.role = Role::Asking { pending: Some(Pending::Exec(id.clone())) };
            }
        }
    }

    fn finish_attached(&mut self, id: &ExecId) {
        for connection in &mut self.connections {
            if matches!(connection.attached_to(), Some(Process::Exec(of)) if of == id) {
                connection.finish();
            }
        }
    }
}
