//! One stream that a process of the container writes, a pipe or a terminal, and how often it is read.
//!
//! Each piece that is read wakes engine, host and client in turn. So a pipe that streams is left alone for a moment
//! between two reads, while the container goes on writing into it: pieces become larger and fewer. What is written
//! now and then is passed on at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use holm_api::stream::Channel;
use rustix::io::{Errno, read};
use rustix::pipe::fcntl_setpipe_size;

/// Bytes that a pipe holds: more than a fast writer fills in [`REST`].
const PIPE: usize = 256 << 10;
/// How long a stream is left alone.
const REST: Duration = Duration::from_micros(400);
/// What comes later than this after the last read is not part of a stream.
const QUIET: Duration = Duration::from_millis(1);
/// Reads without such a pause, after which it is one.
const STREAMING: u32 = 16;

/// Our side of it. Does not block.
#[derive(Debug)]
pub(super) struct ContainerOutput {
    channel: Channel,
    descriptor: OwnedFd,
    /// `None` for a terminal, which holds too little to be left alone.
    pace: Option<Pace>,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes.
    Bytes(usize),
    /// None for now.
    Nothing,
    /// None ever again.
    End,
}

impl ContainerOutput {
    pub(super) fn pipe(channel: Channel, descriptor: OwnedFd) -> Self {
        // Where all the memory for pipes is in use it stays as it is, and is only slower.
        let _ = fcntl_setpipe_size(&descriptor, PIPE);
        Self { channel, descriptor, pace: Some(Pace::default()) }
    }

    pub(super) fn terminal(descriptor: OwnedFd) -> Self {
        Self { channel: Channel::Stdout, descriptor, pace: None }
    }

    /// Where it belongs. A terminal is all [`Channel::Stdout`].
    pub(super) fn channel(&self) -> Channel {
        self.channel
    }

    /// Until when it is left alone, if it is.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        self.pace.as_ref().and_then(|pace| pace.rests_until).filter(|until| *until > now)
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Piece {
        match read(&self.descriptor, &mut *buffer) {
            Err(Errno::AGAIN | Errno::INTR) => Piece::Nothing,
            // A terminal's end is an error: nobody holds its other side open.
            Ok(0) | Err(_) => Piece::End,
            Ok(length) => {
                if let Some(pace) = &mut self.pace {
                    pace.was_read(Instant::now(), length == buffer.len());
                }
                Piece::Bytes(length)
            }
        }
    }
}

impl AsFd for ContainerOutput {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// When to read next.
#[derive(Debug, Default)]
struct Pace {
    last: Option<Instant>,
    /// Reads one soon after the other.
    in_a_row: u32,
    rests_until: Option<Instant>,
}

impl Pace {
    /// `full`: there was more than could be taken.
    fn was_read(&mut self, now: Instant, full: bool) {
        let soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < QUIET);
        self.last = Some(now);
        self.in_a_row = if soon { self.in_a_row.saturating_add(1) } else { 0 };
        self.rests_until = (self.in_a_row >= STREAMING && !full).then(|| now + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(10);

    fn after(reads: u32, apart: Duration, full: bool) -> Option<Duration> {
        let mut pace = Pace::default();
        let mut now = Instant::now();
        for _ in 0..=reads {
            now += apart;
            pace.was_read(now, full);
        }
        pace.rests_until.map(|until| until - now)
    }

    #[test]
    fn what_comes_now_and_then_is_read_at_once() {
        assert_eq!(after(1000, QUIET, false), None);
        assert_eq!(after(STREAMING - 1, SOON, false), None);
    }

    #[test]
    fn a_stream_rests_unless_more_is_there_than_can_be_taken() {
        assert_eq!(after(STREAMING, SOON, false), Some(REST));
        assert_eq!(after(STREAMING, SOON, true), None);
    }

    #[test]
    fn a_rest_does_not_end_the_stream() {
        assert_eq!(after(STREAMING, REST + SOON, false), Some(REST));
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut output = ContainerOutput::pipe(Channel::Stderr, reader);
        rustix::io::write(&writer, b"last words").unwrap();
        drop(writer);
        let mut buffer = [0; 64];
        assert_eq!(output.read(&mut buffer), Piece::Bytes(10));
        assert_eq!(&buffer[..10], b"last words");
        assert_eq!(output.read(&mut buffer), Piece::End);
    }
}
