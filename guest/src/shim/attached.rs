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
    channel: Channel,
    left: usize,
}

impl Output {
    pub(super) fn new(reader: OwnedReadHalf) -> Self {
        Self { reader, channel: Channel::Stdout, left: 0 }
    }

    /// The next piece and where it was written (a terminal is all [`Channel::Stdout`]); `None` at the end.
    /// Safe to cancel only where the output is then dropped.
    pub async fn next(&mut self) -> io::Result<Option<(Channel, Bytes)>> {
        while self.left == 0 {
            let mut header = [0; HEADER];
            match self.reader.read_exact(&mut header).await {
                Ok(_) => {}
                Err(e)
                    if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) =>
                {
                    return Ok(None);
                }
                Err(e) => return Err(e),
            }
            let (channel, length) = stream::parse_header(header).map_err(io::Error::other)?;
            (self.channel, self.left) = (channel, length as usize);
        }
        let mut piece = vec![0; self.left.min(LONGEST_PIECE)];
        self.reader.read_exact(&mut piece).await?;
        self.left -= piece.len();
        Ok(Some((self.channel, piece.into())))
    }
}
