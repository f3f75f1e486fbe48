//! What an attached client reads: the frames of a shim, taken apart.

use std::io;

use bytes::Bytes;
use holm_api::stream::{self, Channel, HEADER};
use tokio::io::AsyncReadExt;
use tokio::net::unix::OwnedReadHalf;

/// Bytes of the longest piece given out at once; the shim sends no longer frame, but a reader takes its word
/// for nothing.
const LONGEST_PIECE: usize = 64 * 1024;

/// A container's output, from a shim.
#[derive(Debug)]
pub struct Output {
    reader: OwnedReadHalf,
    /// The next frame's header, as far as it is read.
    header: [u8; HEADER],
    header_read: usize,
    /// The frame at hand, and how many bytes of it are to come.
    channel: Channel,
    left: usize,
}

impl Output {
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, header: [0; HEADER], header_read: 0, channel: Channel::Stdout, left: 0 }
    }

    /// The next bytes and where they were written (a terminal is all [`Channel::Stdout`]); `None` at the end,
    /// which is also where the shim is gone. May be cancelled and called again.
    pub async fn next(&mut self) -> io::Result<Option<(Channel, Bytes)>> {
        while self.left == 0 {
            let length = ended(self.reader.read(&mut self.header[self.header_read..]).await)?;
            if length == 0 {
                return Ok(None);
            }
            self.header_read += length;
            if self.header_read == HEADER {
                let (channel, length) = stream::parse_header(self.header).map_err(io::Error::other)?;
                (self.channel, self.left, self.header_read) = (channel, length as usize, 0);
            }
        }
        let mut piece = vec![0; self.left.min(LONGEST_PIECE)];
        let length = ended(self.reader.read(&mut piece).await)?;
        if length == 0 {
            return Ok(None);
        }
        piece.truncate(length);
        self.left -= length;
        Ok(Some((self.channel, piece.into())))
    }
}

/// A shim that was killed with bytes of ours unread resets the connection: it is an end like any other.
fn ended(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        other => other,
    }
}
