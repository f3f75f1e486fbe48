//! The byte stream's two ends: [`Inbox`] cuts it into the guest's IP packets, [`Outbox`] holds the packets for
//! the guest until the stream takes them. [`holm_api::network`] says what a frame is.
//!
//! Both are buffers of a fixed size, allocated once, so that no packet costs an allocation and no guest can
//! make them grow. Whoever adds to the outbox asks [`Outbox::has_room`] first and comes back later if not.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use holm_api::network::{FRAME_HEADER, LENGTH_PREFIX, Offload};
use holm_vmm::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of the largest packet that a frame can hold.
pub(super) const LONGEST_PACKET: usize = u16::MAX as usize;
const LONGEST_FRAME: usize = FRAME_HEADER + LONGEST_PACKET;
/// Four of the largest packets: enough that reader and writer seldom wait for each other.
const BUFFER: usize = 4 * LONGEST_FRAME;

/// What has come from the guest and is not yet taken.
pub(super) struct Inbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER].into(), start: 0, end: 0 }
    }

    /// Reads once. `false` is the stream's end; inside a frame that is an error.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        if self.bytes.len() - self.end < LONGEST_FRAME {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let mut target = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(stream).poll_read(context, &mut target))?;
        let count = target.filled().len();
        self.end += count;
        Poll::Ready(match count {
            0 if self.start < self.end => Err(io::ErrorKind::UnexpectedEof.into()),
            0 => Ok(false),
            _ => Ok(true),
        })
    }

    /// The next whole packet, `None` until more is read. May be empty.
    ///
    /// What the guest says of its checksum and its segments is not looked at: nothing depends on either, for what
    /// a packet carries leaves in a packet of the host's own.
    pub(super) fn next_packet(&mut self) -> Option<&[u8]> {
        let (header, rest) = self.bytes[self.start..self.end].split_first_chunk::<FRAME_HEADER>()?;
        let packet = rest.get(..usize::from(u16::from_be_bytes([header[0], header[1]])))?;
        self.start += FRAME_HEADER + packet.len();
        Some(packet)
    }
}

/// What waits to go to the guest.
pub(super) struct Outbox {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER].into(), start: 0, end: 0 }
    }

    /// Whether a packet of any size fits.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() - (self.end - self.start) >= LONGEST_FRAME
    }

    /// Appends a packet of `length` bytes, at most [`LONGEST_PACKET`], for the caller to write in full: the
    /// bytes hold what was there before. `None` where there is no room.
    pub(super) fn packet(&mut self, length: usize, offload: &Offload) -> Option<&mut [u8]> {
        if !self.has_room() {
            return None;
        }
        let length_prefix = u16::try_from(length).ok()?;
        if self.bytes.len() - self.end < LONGEST_FRAME {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let frame = &mut self.bytes[self.end..self.end + FRAME_HEADER + length];
        self.end += frame.len();
        let (header, packet) = frame.split_at_mut(FRAME_HEADER);
        header[..LENGTH_PREFIX].copy_from_slice(&length_prefix.to_be_bytes());
        header[LENGTH_PREFIX..].copy_from_slice(&offload.encode());
        Some(packet)
    }

    /// Writes until all is written (`Ready`) or the stream takes no more. `progress` tells whether any was.
    pub(super) fn poll_flush(
        &mut self,
        stream: &mut Stream,
        context: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end {
            return Poll::Ready(Ok(()));
        }
        while self.start < self.end {
            match ready!(Pin::new(&mut *stream).poll_write(context, &self.bytes[self.start..self.end]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.start += count,
            }
            *progress = true;
        }
        (self.start, self.end) = (0, 0);
        Pin::new(stream).poll_flush(context)
    }
}

#[cfg(test)]
impl Outbox {
    /// Takes the packets out as the guest's kernel would.
    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while let Some((header, rest)) = self.bytes[self.start..self.end].split_first_chunk::<FRAME_HEADER>()
        {
            let packet = &rest[..usize::from(u16::from_be_bytes([header[0], header[1]]))];
            self.start += FRAME_HEADER + packet.len();
            packets.extend(super::tests::kernel::finish(header, packet));
        }
        packets
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn fill(inbox: &mut Inbox, stream: &mut Stream) -> io::Result<bool> {
        std::future::poll_fn(|context| inbox.poll_fill(stream, context)).await
    }

    #[tokio::test]
    async fn frames_come_out_as_they_went_in_however_the_stream_cuts_them() {
        let (mut guest, host) = tokio::io::duplex(7);
        let mut stream: Stream = Box::new(host);
        let mut inbox = Inbox::new();
        let packets: Vec<Vec<u8>> = (0..40u8).map(|n| vec![n; usize::from(n) * 13]).collect();
        let sent = packets.clone();
        let writer = tokio::spawn(async move {
            for packet in sent {
                guest.write_all(&(packet.len() as u16).to_be_bytes()).await.unwrap();
                guest.write_all(&[7; Offload::BYTES]).await.unwrap();
                guest.write_all(&packet).await.unwrap();
            }
        });
        let mut received = Vec::new();
        while fill(&mut inbox, &mut stream).await.unwrap() {
            while let Some(packet) = inbox.next_packet() {
                received.push(packet.to_vec());
            }
        }
        writer.await.unwrap();
        assert_eq!(received, packets);
    }

    #[tokio::test]
    async fn a_stream_that_ends_inside_a_frame_is_an_error() {
        let (mut guest, host) = tokio::io::duplex(64);
        guest.write_all(&[0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]).await.unwrap();
        drop(guest);
        let mut stream: Stream = Box::new(host);
        let mut inbox = Inbox::new();
        assert!(fill(&mut inbox, &mut stream).await.unwrap());
        assert!(inbox.next_packet().is_none());
        let error = fill(&mut inbox, &mut stream).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn the_outbox_takes_what_fits_and_writes_it_in_order() {
        let mut outbox = Outbox::new();
        let mut count = 0u8;
        while let Some(packet) = outbox.packet(LONGEST_PACKET, &Offload::default()) {
            packet.fill(count);
            count += 1;
        }
        assert_eq!(count, 4);
        assert!(!outbox.has_room());
        let (mut guest, host) = tokio::io::duplex(1 << 20);
        let mut stream: Stream = Box::new(host);
        let mut progress = false;
        std::future::poll_fn(|context| outbox.poll_flush(&mut stream, context, &mut progress)).await.unwrap();
        assert!(progress && outbox.has_room());
        for expected in 0..count {
            assert_eq!(usize::from(guest.read_u16().await.unwrap()), LONGEST_PACKET);
            guest.read_exact(&mut [0; Offload::BYTES]).await.unwrap();
            let mut packet = vec![0; LONGEST_PACKET];
            guest.read_exact(&mut packet).await.unwrap();
            assert!(packet.iter().all(|byte| *byte == expected));
        }
    }
}
