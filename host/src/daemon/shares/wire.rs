//! A share's stream as its threads use it: they wait in read(2) and write(2). Where the stream is no socket it stays
//! with the runtime, and each of them costs one more wake-up, which is most of the time of a small request.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use holm_vmm::Stream;
use socket2::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::os;

/// The pump reads as fast as it can.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);

/// Both directions, and how they end.
pub(super) struct Wire {
    /// What the pump says.
    pub(super) input: Input,
    /// What it is told. A write that takes too long is an error.
    pub(super) output: Output,
    /// Ends both, whoever waits in them.
    pub(super) end: End,
}

/// Reads, until the end.
pub(super) enum Input {
    Socket(Socket),
    Runtime(Waiting, ReadHalf<Stream>),
}

/// Writes, until the end.
pub(super) enum Output {
    Socket(Socket),
    Runtime(Waiting, WriteHalf<Stream>),
}

/// Ends a stream.
pub(super) enum End {
    Socket(Socket),
    Runtime(watch::Sender<bool>),
}

/// A thread of its own that waits for what the runtime does.
#[derive(Clone)]
pub(super) struct Waiting {
    handle: Handle,
    ended: watch::Receiver<bool>,
}

impl Wire {
    /// Where it is one: descriptors may come with it.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match &self.input {
            Input::Socket(socket) => Some(socket),
            Input::Runtime(..) => None,
        }
    }

    /// Needs a tokio runtime.
    pub(super) fn new(stream: Stream) -> io::Result<Self> {
        match os::into_socket(stream)? {
            Ok(socket) => {
                socket.set_write_timeout(Some(WRITE_DEADLINE))?;
                let (input, output) = (socket.try_clone()?, socket.try_clone()?);
                let (input, output) = (Input::Socket(input), Output::Socket(output));
                Ok(Self { input, output, end: End::Socket(socket) })
            }
            Err(stream) => {
                let (reader, writer) = tokio::io::split(stream);
                let (end, ended) = watch::channel(false);
                let waiting = Waiting { handle: Handle::current(), ended };
                let (input, output) =
                    (Input::Runtime(waiting.clone(), reader), Output::Runtime(waiting, writer));
                Ok(Self { input, output, end: End::Runtime(end) })
            }
        }
    }
}

impl End {
    /// Reads find the end from now on, and writes fail.
    pub(super) fn end(&self) {
        match self {
            // An error: the other side has ended it.
            Self::Socket(socket) => drop(socket.shutdown(Shutdown::Both)),
            Self::Runtime(end) => drop(end.send_replace(true)),
        }
    }
}

impl Waiting {
    /// Nothing where the stream has ended first.
    fn wait<T>(&self, work: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
        let mut ended = self.ended.clone();
        self.handle.block_on(async {
            tokio::select! {
                biased;
                done = work => done.map(Some),
                _ = ended.wait_for(|ended| *ended) => Ok(None),
            }
        })
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.read(buffer),
            Self::Runtime(waiting, reader) => Ok(waiting.wait(reader.read(buffer))?.unwrap_or(0)),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Socket(socket) => socket.write(bytes),
            Self::Runtime(waiting, writer) => {
                let written = waiting.wait(async { timeout(WRITE_DEADLINE, writer.write(bytes)).await? })?;
                written.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Socket(_) => Ok(()),
            Self::Runtime(waiting, writer) => waiting.wait(writer.flush()).map(drop),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// A stream of each kind, and its other end.
    fn streams() -> [(Stream, Stream); 2] {
        let (one, other) = tokio::io::duplex(16);
        let (socket, peer) = tokio::net::UnixStream::pair().unwrap();
        [(Box::new(one), Box::new(other)), (Box::new(socket), Box::new(peer))]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_in_a_stream_is_told_of_its_end() {
        for (stream, mut other) in streams() {
            let Wire { mut input, mut output, end } = Wire::new(stream).unwrap();
            let reading = tokio::task::spawn_blocking(move || {
                let mut said = Vec::new();
                input.read_to_end(&mut said).map(|_| said)
            });
            // More than it holds, so that the writer waits.
            let writing = tokio::task::spawn_blocking(move || output.write_all(&vec![7; 4 << 20]));
            other.write_all(b"request").await.unwrap();
            assert_eq!(other.read_u8().await.unwrap(), 7);
            end.end();
            assert!(b"request".starts_with(&reading.await.unwrap().unwrap()));
            assert!(writing.await.unwrap().is_err());
        }
    }
}
