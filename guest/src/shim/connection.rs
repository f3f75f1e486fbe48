//! One connection to a shim: requests and replies at first, then perhaps an attached client's streams. Nothing
//! here blocks, and no buffer grows past its bound.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use holm_api::ExecId;
use holm_api::stream::{self, Channel};
use rustix::event::PollFlags;

use super::message::{self, BadMessage};
use super::protocol::{Reply, Request, Streams};

/// Bytes of output that wait for an attached client before the process' own writing has to wait.
pub(super) const OUTPUT_BOUND: usize = 256 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// One request after the other.
    Asking {
        /// The request that is answered later; the next one is read after that.
        pending: Option<Pending>,
    },
    /// Streams.
    Attached {
        /// Whose.
        to: Process,
        /// Which of them.
        streams: Streams,
    },
}

/// A process whose streams are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Process {
    /// The container's first.
    First,
    /// A further one.
    Exec(ExecId),
}

/// A request that is answered later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// `Wait`.
    Exit,
    /// `Forget`.
    CleanUp,
    /// `Exec`, which has two answers.
    Exec(ExecId),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) role: Role,
    /// Bytes of requests that are not complete.
    incoming: Vec<u8>,
    outgoing: VecDeque<u8>,
    /// The other side may still write.
    readable: bool,
    /// Nothing more is to come from us: close when all is sent.
    finished: bool,
    /// The other side is gone, or broke the protocol.
    gone: bool,
}

/// What came from an attached client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Bytes for the container.
    Bytes(Vec<u8>),
    /// It writes no more.
    End,
    /// Not now.
    Nothing,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            role: Role::Asking { pending: None },
            incoming: Vec::new(),
            outgoing: VecDeque::new(),
            readable: true,
            finished: false,
            gone: false,
        })
    }

    /// What to wait for. `input_wanted` says whether the process' input has room. Nothing at all when a poll
    /// could only tell again what is known.
    pub(super) fn interest(&self, input_wanted: bool) -> Option<PollFlags> {
        let reads = match &self.role {
            Role::Asking { pending: None } => self.readable,
            // The end of the connection is noticed all the same.
            Role::Asking { pending: Some(_) } => false,
            Role::Attached { streams, .. } => self.readable && (input_wanted || !streams.stdin),
        };
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, reads);
        flags.set(PollFlags::OUT, !self.outgoing.is_empty());
        // A hang-up is told whether it is asked for or not, so a connection that has hung up and still holds
        // bytes for a full container must stay out of the poll.
        (!flags.is_empty() || (self.readable && !self.gone)).then_some(flags)
    }

    /// The process that it is attached to.
    pub(super) fn attached_to(&self) -> Option<&Process> {
        match &self.role {
            Role::Attached { to, .. } => Some(to),
            Role::Asking { .. } => None,
        }
    }

    /// Whether less than `bound` bytes wait for this client, if it wants `channel` of `process` at all.
    pub(super) fn has_room(&self, process: &Process, channel: Channel, bound: usize) -> bool {
        !self.wants(process, channel) || self.outgoing.len() < bound
    }

    /// Passes on what the process wrote, if the client wants it.
    pub(super) fn output(&mut self, process: &Process, channel: Channel, bytes: &[u8]) {
        if self.wants(process, channel) {
            let length = u32::try_from(bytes.len()).expect("read into a buffer far smaller than 4 GiB");
            let header = stream::header(channel, length);
            let sent = if self.outgoing.is_empty() { self.send(&header, bytes) } else { 0 };
            self.outgoing.extend(&header[sent.min(header.len())..]);
            self.outgoing.extend(&bytes[sent.saturating_sub(header.len())..]);
        }
    }

    /// Sends as much as goes at once, past the queue, which is empty. How much that was.
    fn send(&mut self, header: &[u8], bytes: &[u8]) -> usize {
        let pieces = [IoSlice::new(header), IoSlice::new(bytes)];
        // What is wrong with the connection is found when the queue is sent.
        self.stream.write_vectored(&pieces).unwrap_or(0)
    }

    fn wants(&self, process: &Process, channel: Channel) -> bool {
        match &self.role {
            Role::Attached { to, streams } if !self.gone && to == process => match channel {
                Channel::Stdout => streams.stdout,
                Channel::Stderr => streams.stderr,
                Channel::Stdin | Channel::SystemError => false,
            },
            _ => false,
        }
    }

    /// Answers the request at hand.
    pub(super) fn reply(&mut self, reply: &Reply) {
        self.outgoing.extend(message::encode(reply));
        if let Role::Asking { pending } = &mut self.role {
            *pending = None;
        }
    }

    /// Reads requests. The first complete one, if any; call again until there is none.
    pub(super) fn request(&mut self) -> Option<Request> {
        if !matches!(self.role, Role::Asking { pending: None }) || self.gone {
            return None;
        }
        loop {
            match message::take(&mut self.incoming) {
                Ok(Some(request)) => return Some(request),
                Ok(None) => {}
                Err(error) => {
                    self.give_up(&error);
                    return None;
                }
            }
            if !self.readable {
                self.finished = true;
                return None;
            }
            match self.read() {
                Input::Bytes(bytes) => self.incoming.extend(bytes),
                Input::End => {}
                Input::Nothing => return None,
            }
        }
    }

    /// Reads what an attached client writes; first what came right behind its request.
    pub(super) fn input(&mut self) -> Input {
        if !self.incoming.is_empty() {
            return Input::Bytes(std::mem::take(&mut self.incoming));
        }
        if self.readable { self.read() } else { Input::Nothing }
    }

    fn read(&mut self) -> Input {
        let mut bytes = vec![0; CHUNK];
        match self.stream.read(&mut bytes) {
            Ok(0) => {
                self.readable = false;
                Input::End
            }
            Ok(length) => {
                bytes.truncate(length);
                Input::Bytes(bytes)
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Input::Nothing
            }
            Err(_) => {
                self.readable = false;
                self.gone = true;
                Input::End
            }
        }
    }

    /// Sends as much as goes.
    pub(super) fn flush(&mut self) {
        while !self.outgoing.is_empty() && !self.gone {
            match self.stream.write(self.outgoing.as_slices().0) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        if self.gone {
            self.outgoing.clear();
        }
        if self.outgoing.is_empty() && self.outgoing.capacity() > CHUNK {
            self.outgoing.shrink_to_fit();
        }
    }

    /// The poll said that the other side has closed both directions: nobody reads what we send.
    pub(super) fn hung_up(&mut self) {
        self.gone = true;
        self.outgoing.clear();
    }

    /// Whether the other side is.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Closes the connection when all is sent.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// Whether something is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether it can be dropped. A client that is gone may have left bytes for the container.
    pub(super) fn is_over(&self) -> bool {
        let delivered = self.finished && self.outgoing.is_empty();
        let writes = matches!(self.role, Role::Attached { streams: Streams { stdin: true, .. }, .. });
        let input_left = writes && self.readable;
        delivered || (self.gone && !input_left)
    }

    fn give_up(&mut self, error: &BadMessage) {
        tracing::warn!("closed a connection: {error}");
        self.gone = true;
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
