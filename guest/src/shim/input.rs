//! What attached clients write, on its way into the container: a bounded buffer before a pipe or a terminal.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr, write};

use super::protocol::Stdin;

/// Bytes that wait for the container at most, but for one read more.
const BOUND: usize = 64 * 1024;

/// A container's standard input.
#[derive(Debug)]
pub(super) struct ContainerInput {
    /// `None` once nothing can be written any more, or ever.
    descriptor: Option<OwnedFd>,
    waiting: VecDeque<u8>,
    /// Closes when a client ends its writing, once `waiting` is written. A terminal never does: what ends there is
    /// the client, and only the program's hang-up could tell.
    closes_with_client: bool,
    closing: bool,
}

impl ContainerInput {
    pub(super) fn new(descriptor: Option<OwnedFd>, stdin: Stdin, is_terminal: bool) -> Self {
        Self {
            descriptor,
            waiting: VecDeque::new(),
            closes_with_client: stdin == Stdin::Once && !is_terminal,
            closing: false,
        }
    }

    /// Whether more should be read from clients. Where nothing can be written, everything is wanted, and dropped.
    pub(super) fn has_room(&self) -> bool {
        self.descriptor.is_none() || self.waiting.len() < BOUND
    }

    /// Takes bytes for the container.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.descriptor.is_some() && !self.closing {
            self.waiting.extend(bytes);
            self.flush();
        }
    }

    /// A client has ended its writing.
    pub(super) fn client_ended(&mut self) {
        self.closing |= self.closes_with_client;
        self.flush();
    }

    /// Writes as much as goes.
    pub(super) fn flush(&mut self) {
        while let (Some(descriptor), false) = (&self.descriptor, self.waiting.is_empty()) {
            match retry_on_intr(|| write(descriptor, self.waiting.as_slices().0)) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(Errno::AGAIN) => return,
                // The container has closed its input, or is gone.
                Err(error) => {
                    tracing::debug!(
                        "dropped {} bytes of input: {}",
                        self.waiting.len(),
                        io::Error::from(error)
                    );
                    return self.close();
                }
            }
        }
        if self.closing {
            self.close();
        }
    }

    /// Lets go of the container's input and of what waits for it.
    pub(super) fn close(&mut self) {
        self.descriptor = None;
        self.waiting = VecDeque::new();
    }

    /// What to poll for writing, if anything waits.
    pub(super) fn blocked(&self) -> Option<BorrowedFd<'_>> {
        if self.waiting.is_empty() { None } else { self.descriptor.as_ref().map(AsFd::as_fd) }
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::{PipeFlags, pipe_with};

    use super::*;

    fn pipe() -> (OwnedFd, OwnedFd) {
        pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).unwrap()
    }

    fn read(descriptor: &OwnedFd) -> Result<usize, Errno> {
        rustix::io::read(descriptor, &mut [0; 1 << 20])
    }

    #[test]
    fn the_first_client_to_end_closes_an_input_that_is_for_one() {
        let (reader, writer) = pipe();
        let mut input = ContainerInput::new(Some(writer), Stdin::Once, false);
        input.push(b"bytes");
        input.client_ended();
        assert_eq!((read(&reader), read(&reader)), (Ok(5), Ok(0)));
    }

    #[test]
    fn an_open_input_outlives_its_clients_and_so_does_a_terminal() {
        for (stdin, is_terminal) in [(Stdin::Open, false), (Stdin::Once, true)] {
            let (reader, writer) = pipe();
            let mut input = ContainerInput::new(Some(writer), stdin, is_terminal);
            input.client_ended();
            input.push(b"later");
            assert_eq!((read(&reader), read(&reader)), (Ok(5), Err(Errno::AGAIN)));
        }
    }

    #[test]
    fn a_container_that_does_not_read_stops_its_clients_and_loses_nothing() {
        let (reader, writer) = pipe();
        let mut input = ContainerInput::new(Some(writer), Stdin::Once, false);
        let mut pushed = 0;
        while input.has_room() {
            input.push(&[1; 10_000]);
            pushed += 10_000;
        }
        input.client_ended();
        assert!(input.blocked().is_some());
        let mut got = 0;
        while input.blocked().is_some() {
            got += read(&reader).unwrap();
            input.flush();
        }
        assert_eq!(got + read(&reader).unwrap_or(0), pushed);
        assert_eq!(read(&reader), Ok(0), "closed once all was written");
    }

    #[test]
    fn what_nobody_reads_is_dropped() {
        let (reader, writer) = pipe();
        drop(reader);
        let mut input = ContainerInput::new(Some(writer), Stdin::Open, false);
        input.push(b"bytes");
        assert!(input.has_room() && input.blocked().is_none());
    }
}
