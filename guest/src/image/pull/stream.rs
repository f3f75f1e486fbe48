//! From a layer's compressed bytes, still arriving, to its tar: follows the file that the download writes, takes
//! the compression off, and lets the end be seen only when both digests are right.
//!
//! ```text
//!   download ──► Inflow ──► file      Inflow hashes and writes
//!                  │          │
//!                  └─ Gauge ──┤       how far the file is, and whether it is right
//!                             ▼
//!                          Outflow    reads behind it, decompresses, hashes
//! ```
//!
//! The file between the two is the buffer: a download never waits for a busy processor, and no layer is ever in
//! memory.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use holm_api::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes read from the file at once.
const BUFFER: usize = 128 << 10;
/// Log2 of the largest window of zstd: 128 MiB, what `zstd` itself takes without being asked.
const ZSTD_WINDOW: u32 = 27;

/// How far a file is. Shared by who writes and who reads it.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    written: u64,
    read: u64,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// All is there, and right.
    Whole,
    /// It will never be.
    Broken,
}

impl Gauge {
    /// For a file that was there before.
    pub(super) fn whole(length: u64) -> Self {
        let state = State { written: length, read: 0, end: Some(End::Whole) };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the file that were unpacked.
    pub(super) fn read(&self) -> u64 {
        self.lock().read
    }

    /// Ends it for whoever reads. The first end counts, except that what is whole can still be called off.
    pub(super) fn fail(&self) {
        self.lock().end = Some(End::Broken);
        self.changed.notify_all();
    }

    /// Waits until more than `position` bytes are there, or no more will come: `None` at the right end.
    fn wait_past(&self, position: u64) -> io::Result<Option<u64>> {
        let mut state = self.lock();
        state.read = position;
        loop {
            match state.end {
                Some(End::Broken) => return Err(io::Error::other("the download failed")),
                _ if state.written > position => return Ok(Some(state.written)),
                Some(End::Whole) => return Ok(None),
                None => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Writes a download to its file.
pub(super) struct Inflow {
    file: File,
    hash: Sha256,
    gauge: Arc<Gauge>,
    whole: bool,
}

impl Inflow {
    pub(super) fn new(path: &Path, gauge: Arc<Gauge>) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Self { file, hash: Sha256::new(), gauge, whole: false })
    }

    pub(super) fn write(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.gauge.lock().written += bytes.len() as u64;
        self.gauge.changed.notify_all();
        Ok(())
    }

    /// Whether what was written has this digest. Only then will the reader see an end.
    pub(super) fn finish(mut self, digest: &Digest) -> bool {
        self.whole = Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into()) == *digest;
        self.whole
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        let mut state = self.gauge.lock();
        // Never over a failure: that came from whoever called the whole thing off.
        if state.end.is_none() {
            state.end = Some(if self.whole { End::Whole } else { End::Broken });
        }
        drop(state);
        self.gauge.changed.notify_all();
    }
}

/// Reads behind a download.
struct Follower {
    file: File,
    position: u64,
    gauge: Arc<Gauge>,
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(written) = self.gauge.wait_past(self.position)? else { return Ok(0) };
        let there = usize::try_from(written - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..there])?;
        if read == 0 && there > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.position += read as u64;
        Ok(read)
    }
}

type Compressed = BufReader<Follower>;

enum Decoder {
    Gzip(Box<MultiGzDecoder<Compressed>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Compressed>>),
    Plain(Compressed),
}

/// A layer's tar, as it becomes known.
pub(super) struct Outflow {
    decoder: Decoder,
    hash: Sha256,
    diff_id: Digest,
}

impl Outflow {
    /// Begins to read. The first bytes tell the compression: media types have been wrong too often.
    pub(super) fn open(path: &Path, gauge: Arc<Gauge>, diff_id: Digest) -> io::Result<Self> {
        let follower = Follower { file: File::open(path)?, position: 0, gauge };
        let mut input = BufReader::with_capacity(BUFFER, follower);
        let mut first = [0; 4];
        let known = peek(&mut input, &mut first)?;
        let decoder = match &first[..known] {
            [0x1f, 0x8b, ..] => Decoder::Gzip(Box::new(MultiGzDecoder::new(input))),
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Decoder::Zstd(Box::new(decoder))
            }
            _ => Decoder::Plain(input),
        };
        Ok(Self { decoder, hash: Sha256::new(), diff_id })
    }

    /// The end of the tar is not yet the end: what follows in the file has to come, and to be right.
    fn check_end(&mut self) -> io::Result<()> {
        let rest = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
            Decoder::Plain(input) => input,
        };
        io::copy(rest, &mut io::sink())?;
        let diff_id = Digest::from_bytes(self.hash.clone().finalize().into());
        if diff_id == self.diff_id {
            return Ok(());
        }
        let told = format!("the layer unpacks to {diff_id}, not to {} as its image says", self.diff_id);
        Err(io::Error::new(io::ErrorKind::InvalidData, told))
    }
}

impl Read for Outflow {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.read(buffer)?,
            Decoder::Zstd(decoder) => decoder.read(buffer)?,
            Decoder::Plain(input) => input.read(buffer)?,
        };
        if read == 0 && !buffer.is_empty() {
            self.check_end()?;
        }
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// Fills `first` as far as there are bytes, and leaves them to be read again.
fn peek(input: &mut Compressed, first: &mut [u8; 4]) -> io::Result<usize> {
    // A slow registry may send one byte at a time, and a buffer is not refilled before it is empty; so the first
    // bytes are waited for in the file.
    let wanted = first.len() as u64;
    let mut known = 0;
    while known < wanted {
        match input.get_ref().gauge.wait_past(known)? {
            Some(written) => known = written,
            None => break,
        }
    }
    let bytes = input.fill_buf()?;
    let length = bytes.len().min(first.len());
    first[..length].copy_from_slice(&bytes[..length]);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flow {
        folder: tempfile::TempDir,
        gauge: Arc<Gauge>,
    }

    impl Flow {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            File::create(folder.path().join("blob")).unwrap();
            Self { folder, gauge: Arc::default() }
        }

        fn inflow(&self) -> Inflow {
            Inflow::new(&self.folder.path().join("blob"), self.gauge.clone()).unwrap()
        }

        fn read(&self, diff_id: Digest) -> io::Result<Vec<u8>> {
            let mut outflow = Outflow::open(&self.folder.path().join("blob"), self.gauge.clone(), diff_id)?;
            let mut bytes = Vec::new();
            outflow.read_to_end(&mut bytes)?;
            Ok(bytes)
        }
    }

    fn digest(bytes: &[u8]) -> Digest {
        Digest::from_bytes(Sha256::digest(bytes).into())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_compression_is_known_by_its_first_bytes_even_one_byte_at_a_time() {
        let tar = b"some bytes that are unpacked".repeat(1000);
        let two_members = [gzip(&tar[..500]), gzip(&tar[500..])].concat();
        for packed in [tar.clone(), gzip(&tar), two_members, zstd::encode_all(&tar[..], 1).unwrap()] {
            let flow = Flow::new();
            let mut inflow = flow.inflow();
            let read = std::thread::scope(|scope| {
                let reader = scope.spawn(|| flow.read(digest(&tar)));
                let (first, rest) = packed.split_at(16);
                for byte in first.chunks(1) {
                    inflow.write(&Bytes::copy_from_slice(byte)).unwrap();
                }
                inflow.write(&Bytes::copy_from_slice(rest)).unwrap();
                assert!(inflow.finish(&digest(&packed)));
                reader.join().unwrap()
            });
            assert!(read.unwrap() == tar);
        }
    }

    #[test]
    fn the_end_of_a_tar_is_not_seen_before_its_file_is_found_right() {
        let tar = b"bytes".repeat(100);
        let flow = Flow::new();
        let mut inflow = flow.inflow();
        inflow.write(&Bytes::from(gzip(&tar))).unwrap();
        assert!(!inflow.finish(&digest(b"other")));
        assert_eq!(flow.read(digest(&tar)).unwrap_err().to_string(), "the download failed");
    }

    #[test]
    fn a_tar_with_another_digest_than_its_image_says_has_no_end() {
        let flow = Flow::new();
        let mut inflow = flow.inflow();
        inflow.write(&Bytes::from_static(b"tar")).unwrap();
        assert!(inflow.finish(&digest(b"tar")));
        let told = flow.read(digest(b"other")).unwrap_err();
        assert!(told.to_string().starts_with("the layer unpacks to sha256:"), "{told}");
    }

    #[test]
    fn a_reader_is_woken_when_the_download_is_called_off() {
        let flow = Flow::new();
        let inflow = flow.inflow();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| flow.read(digest(b"")));
            drop(inflow);
            assert!(reader.join().unwrap().is_err());
        });
        flow.gauge.fail();
        assert!(flow.read(digest(b"")).is_err());
    }

    #[test]
    fn what_follows_the_last_member_of_a_gzip_file_is_an_error() {
        let flow = Flow::new();
        let packed = [gzip(b"tar"), b"garbage".to_vec()].concat();
        let mut inflow = flow.inflow();
        inflow.write(&Bytes::from(packed.clone())).unwrap();
        assert!(inflow.finish(&digest(&packed)));
        flow.read(digest(b"tar")).unwrap_err();
    }
}
