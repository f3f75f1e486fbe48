//! Moves packets between the TUN device and the stream, in a thread for each direction: at many gigabits a second
//! a system call a packet is what counts, so a write to the stream carries all packets that wait, and a read from
//! it takes all that has come. What the kernel says of each packet, and is told of it, passes unread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::thread;

use holm_api::network::{FRAME_HEADER, LENGTH_PREFIX, Offload};
use rustix::event::{PollFd, PollFlags, poll};
use socket2::Socket;
use tokio::sync::mpsc;

/// Bytes of the largest IP packet there is.
const LARGEST_PACKET: usize = u16::MAX as usize;
/// Bytes gathered for one write, or taken by one read: four of the largest packets.
const BATCH: usize = 4 * (FRAME_HEADER + LARGEST_PACKET);

/// Starts both threads. They end with the stream, and say why to `tell`.
pub(super) fn start(device: File, stream: Socket, tell: mpsc::Sender<String>) -> io::Result<()> {
    // The threads have nothing to do but wait for it.
    stream.set_nonblocking(false)?;
    let (device, stream) = (Arc::new(device), Arc::new(stream));
    spawn("network out", &device, &stream, &tell, send_packets)?;
    spawn("network in", &device, &stream, &tell, receive_packets)
}

fn spawn(
    name: &str,
    device: &Arc<File>,
    stream: &Arc<Socket>,
    tell: &mpsc::Sender<String>,
    run: fn(&File, &Socket) -> io::Result<()>,
) -> io::Result<()> {
    let (device, stream, tell) = (device.clone(), stream.clone(), tell.clone());
    thread::Builder::new().name(name.into()).spawn(move || {
        let reason = match run(&device, &stream) {
            Ok(()) => "the host closed the stream".to_owned(),
            Err(error) => error.to_string(),
        };
        // Ends the other direction as well; it may have done the same.
        let _ = stream.shutdown(Shutdown::Both);
        // The channel holds one message a thread, and nobody may care any more.
        let _ = tell.try_send(reason);
    })?;
    Ok(())
}

/// From the device to the stream.
fn send_packets(mut device: &File, mut stream: &Socket) -> io::Result<()> {
    let mut batch = vec![0; BATCH];
    loop {
        let filled = gather(&mut batch, |packet| device.read(packet))?;
        if filled > 0 {
            stream.write_all(&batch[..filled])?;
        } else {
            wait_for_packet(device)?;
        }
    }
}

/// Frames packets into `batch` until `read` would block or there is no room for another one. `read` gives a packet
/// behind its offload. Returns the bytes used.
fn gather(batch: &mut [u8], mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut used = 0;
    while let Some(frame) = batch.get_mut(used..used + FRAME_HEADER + LARGEST_PACKET) {
        let (prefix, rest) = frame.split_at_mut(LENGTH_PREFIX);
        match read(rest) {
            Ok(length) => {
                // The buffer holds no longer packet than a u16 counts. Without an offload it would be none.
                let packet = length.saturating_sub(Offload::BYTES) as u16;
                prefix.copy_from_slice(&packet.to_be_bytes());
                used += FRAME_HEADER + usize::from(packet);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(used)
}

fn wait_for_packet(device: &File) -> io::Result<()> {
    match poll(&mut [PollFd::new(device, PollFlags::IN)], None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// From the stream to the device.
fn receive_packets(mut device: &File, mut stream: &Socket) -> io::Result<()> {
    let mut frames = Frames::new();
    loop {
        match stream.read(frames.room()) {
            Ok(0) => return Ok(()),
            Ok(count) => frames.filled(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        while let Some(packet) = frames.next() {
            // A packet that the kernel does not take is lost, as on any wire: it is none, or the queue is full.
            let _ = device.write(packet);
        }
    }
}

/// Bytes of the stream that are not used up: whole frames, then the start of one.
struct Frames {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Frames {
    fn new() -> Self {
        Self { buffer: vec![0; BATCH], start: 0, end: 0 }
    }

    /// Where the next bytes go; never empty once `next` has returned `None`. What is left of the last read moves
    /// to the front, less than one frame.
    fn room(&mut self) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        &mut self.buffer[self.end..]
    }

    /// So many bytes came.
    fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// The next packet that is there as a whole, behind its offload.
    fn next(&mut self) -> Option<&[u8]> {
        let waiting = &self.buffer[self.start..self.end];
        let (prefix, rest) = waiting.split_first_chunk::<LENGTH_PREFIX>()?;
        let packet = rest.get(..Offload::BYTES + usize::from(u16::from_be_bytes(*prefix)))?;
        self.start += LENGTH_PREFIX + packet.len();
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::VecDeque;

    const OFFLOAD: [u8; Offload::BYTES] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10];

    fn frame(packet: &[u8]) -> Vec<u8> {
        [&(packet.len() as u16).to_be_bytes()[..], &OFFLOAD, packet].concat()
    }

    /// As the device gives and takes it.
    fn offloaded(packet: &[u8]) -> Vec<u8> {
        [&OFFLOAD, packet].concat()
    }

    /// Sends `bytes` through in reads of at most `piece`, and returns the packets that came out.
    fn through(bytes: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let mut frames = Frames::new();
        let mut packets = Vec::new();
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let count = bytes.len().min(piece).min(frames.room().len());
            assert!(count > 0, "no room left");
            frames.room()[..count].copy_from_slice(&bytes[..count]);
            frames.filled(count);
            bytes = &bytes[count..];
            while let Some(packet) = frames.next() {
                packets.push(packet.to_vec());
            }
        }
        packets
    }

    #[test]
    fn packets_come_out_whole_however_the_stream_was_cut() {
        let packets: Vec<Vec<u8>> = [1, 0, 1500, LARGEST_PACKET, 65_000, LARGEST_PACKET, LARGEST_PACKET, 40]
            .iter()
            .enumerate()
            .map(|(n, length)| vec![n as u8; *length])
            .collect();
        let bytes: Vec<u8> = packets.iter().flat_map(|packet| frame(packet)).collect();
        let expected: Vec<Vec<u8>> = packets.iter().map(|packet| offloaded(packet)).collect();
        for piece in [1, 2, 3, 1000, 65_537, BATCH, usize::MAX] {
            assert!(through(&bytes, piece) == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn all_packets_that_wait_go_into_one_batch() {
        let mut waiting: VecDeque<Vec<u8>> = (1..=9u8).map(|n| vec![n; usize::from(n) * 100]).collect();
        let expected: Vec<u8> = waiting.iter().flat_map(|packet| frame(packet)).collect();
        let mut batch = vec![0; BATCH];
        let used = gather(&mut batch, |buffer| {
            let packet = offloaded(&waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?);
            buffer[..packet.len()].copy_from_slice(&packet);
            Ok(packet.len())
        });
        assert_eq!(batch[..used.unwrap()], expected);
    }

    #[test]
    fn a_full_batch_is_sent_before_more_is_read() {
        let mut batch = vec![0; BATCH];
        let mut reads = 0;
        let used = gather(&mut batch, |buffer| {
            reads += 1;
            assert_eq!(buffer.len(), Offload::BYTES + LARGEST_PACKET);
            Ok(buffer.len())
        });
        assert_eq!((used.unwrap(), reads), (BATCH, 4));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_stream_of_the_hosts_breaks_the_pump() {
            bolero::check!().with_type::<(u8, Vec<u8>)>().for_each(|(piece, bytes)| {
                let total: usize = through(bytes, usize::from(*piece) + 1).iter().map(Vec::len).sum();
                assert!(total <= bytes.len());
            });
        }
    }
}
