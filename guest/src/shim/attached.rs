//! What an attached client reads: the frames of a shim, taken apart.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use holm_api::stream::{self, Channel, HEADER};
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

/// Bytes that are read at once, and of the longest piece given out; the shim sends no longer frame, but a reader
/// takes its word for nothing.
const READ: usize = 64 * 1024;

/// A container's output, from a shim.
#[derive(Debug)]
pub struct Output {
    reader: OwnedReadHalf,
    /// What is read and not given out.
    buffer: BytesMut,
    /// The frame at hand, and how many bytes of it are to come.
    channel: Channel,
    left: usize,
}

impl Output {
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, buffer: BytesMut::new(), channel: Channel::Stdout, left: 0 }
    }

    /// The next bytes and where they were written (a terminal is all [`Channel::Stdout`]); `None` at the end,
    /// which is also where the shim is gone. May be cancelled and called again.
    pub async fn next(&mut self) -> io::Result<Option<(Channel, Bytes)>> {
        loop {
            if let Some(piece) = self.take()? {
                return Ok(Some(piece));
            }
            self.buffer.reserve(READ);
            if ended(self.reader.read_buf(&mut self.buffer).await)? == 0 {
                return Ok(None);
            }
        }
    }

    /// As [`Self::next`], of what is here already; `None` where that is nothing.
    pub fn take(&mut self) -> io::Result<Option<(Channel, Bytes)>> {
        while self.left == 0 {
            let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
            let (channel, length) = stream::parse_header(*header).map_err(io::Error::other)?;
            (self.channel, self.left) = (channel, length as usize);
            self.buffer.advance(HEADER);
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let piece = self.buffer.split_to(self.left.min(self.buffer.len())).freeze();
        self.left -= piece.len();
        Ok(Some((self.channel, piece)))
    }
}

/// A shim that was killed with bytes of ours unread resets the connection: it is an end like any other.
fn ended(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        other => other,
    }
}
