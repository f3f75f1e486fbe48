//! From a layer's compressed bytes, still arriving, to its tar: follows the file that the download writes, takes
//! the compression off, and lets the end be seen only when both digests are right.
//!
//! ```text
//!   what comes ► Inflow ──► file      Inflow hashes and writes
//!                  │          │
//!                  └─ Gauge ──┤       how far the file is, and whether it is right
//!                             ▼
//!                          Outflow    reads behind it, decompresses, hashes
//! ```
//!
//! The file between the two is the buffer: what comes never waits for a busy processor, and no layer is ever in
//! memory.

mod window;

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use flate2::bufread::MultiGzDecoder;
use holm_api::Digest;
use sha2::{Digest as _, Sha256};

pub(super) use window::{Wide, Windows};

/// Bytes read from the file at once.
const BUFFER: usize = 128 << 10;
/// Bytes that tell the compression, and how much memory it takes.
const FIRST: usize = window::HEADER;

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
    /// All is there, and has this digest.
    Whole(Digest),
    /// It will never be.
    Broken,
}

impl Gauge {
    /// For a file that was there before.
    pub(super) fn whole(length: u64, digest: Digest) -> Self {
        let state = State { written: length, read: 0, end: Some(End::Whole(digest)) };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the file that were unpacked.
    pub(super) fn read(&self) -> u64 {
        self.lock().read
    }

    /// The digest of all that is there, once that is known.
    fn digest(&self) -> Option<Digest> {
        match self.lock().end {
            Some(End::Whole(digest)) => Some(digest),
            _ => None,
        }
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
                Some(End::Whole(_)) => return Ok(None),
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
    whole: Option<Digest>,
}

impl Inflow {
    pub(super) fn new(path: &Path, gauge: Arc<Gauge>) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        Ok(Self { file, hash: Sha256::new(), gauge, whole: None })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.gauge.lock().written += bytes.len() as u64;
        self.gauge.changed.notify_all();
        Ok(())
    }

    /// Whether what was written has this digest. Only then will the reader see an end.
    pub(super) fn finish(mut self, digest: &Digest) -> bool {
        let found = self.found();
        self.whole = (found == *digest).then_some(found);
        self.whole.is_some()
    }

    /// All has come, and its digest is whatever it is.
    pub(super) fn finish_as_found(mut self) -> Digest {
        let found = self.found();
        self.whole = Some(found);
        found
    }

    fn found(&mut self) -> Digest {
        Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into())
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        let mut state = self.gauge.lock();
        // Never over a failure: that came from whoever called the whole thing off.
        if state.end.is_none() {
            state.end = Some(self.whole.map_or(End::Broken, End::Whole));
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

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// By gzip (RFC 1952).
    Gzip,
    /// By zstd (RFC 8878).
    Zstd,
    /// Not at all.
    Plain,
}

impl Packing {
    /// The first bytes tell it: names and media types have been wrong too often.
    pub(super) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// A layer's tar, as it becomes known.
pub(super) struct Outflow {
    decoder: Decoder,
    hash: Sha256,
    expected: Option<Digest>,
    found: Arc<OnceLock<Digest>>,
    gauge: Arc<Gauge>,
    _wide: Option<Wide>,
}

impl Outflow {
    /// Begins to read. `expected` is the digest of the tar, where it is known before.
    pub(super) fn open(
        path: &Path,
        gauge: Arc<Gauge>,
        expected: Option<Digest>,
        windows: &Arc<Windows>,
    ) -> io::Result<Self> {
        let follower = Follower { file: File::open(path)?, position: 0, gauge: gauge.clone() };
        let mut input = BufReader::with_capacity(BUFFER, follower);
        let mut first = [0; FIRST];
        let known = peek(&mut input, &mut first)?;
        let first = &first[..known];
        let (decoder, wide) = match Packing::of(first) {
            Packing::Gzip => (Decoder::Gzip(Box::new(MultiGzDecoder::new(input))), None),
            Packing::Zstd => {
                let (decoder, wide) = windows.decoder(first, input)?;
                (Decoder::Zstd(Box::new(decoder)), wide)
            }
            Packing::Plain => (Decoder::Plain(input), None),
        };
        let found = Arc::default();
        Ok(Self { decoder, hash: Sha256::new(), expected, found, gauge, _wide: wide })
    }

    /// Where the digest of the tar will be, when its end was read.
    pub(super) fn found(&self) -> Arc<OnceLock<Digest>> {
        self.found.clone()
    }

    /// The end of the tar is not yet the end: what follows in the file has to come, and to be right.
    fn check_end(&mut self) -> io::Result<()> {
        let rest = match &mut self.decoder {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
            Decoder::Plain(input) => input,
        };
        io::copy(rest, &mut io::sink())?;
        let diff_id = match &self.decoder {
            // The same bytes were hashed as they came.
            Decoder::Plain(_) => self.gauge.digest().ok_or(io::ErrorKind::UnexpectedEof)?,
            _ => Digest::from_bytes(self.hash.clone().finalize().into()),
        };
        match self.expected {
            Some(expected) if expected != diff_id => {
                let told = format!("the layer unpacks to {diff_id}, not to {expected} as its image says");
                Err(io::Error::new(io::ErrorKind::InvalidData, told))
            }
            _ => {
                // Read to the end twice, it is the same.
                let _ = self.found.set(diff_id);
                Ok(())
            }
        }
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
        if !matches!(self.decoder, Decoder::Plain(_)) {
            self.hash.update(&buffer[..read]);
        }
        Ok(read)
    }
}

/// Fills `first` as far as there are bytes, and leaves them to be read again.
fn peek(input: &mut Compressed, first: &mut [u8]) -> io::Result<usize> {
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
            let path = self.folder.path().join("blob");
            let mut outflow = Outflow::open(&path, self.gauge.clone(), Some(diff_id), &Arc::default())?;
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
                    inflow.write(byte).unwrap();
                }
                inflow.write(rest).unwrap();
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
        inflow.write(&gzip(&tar)).unwrap();
        assert!(!inflow.finish(&digest(b"other")));
        assert_eq!(flow.read(digest(&tar)).unwrap_err().to_string(), "the download failed");
    }

    #[test]
    fn a_tar_with_another_digest_than_its_image_says_has_no_end() {
        let flow = Flow::new();
        let mut inflow = flow.inflow();
        inflow.write(b"tar").unwrap();
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
        inflow.write(&packed).unwrap();
        assert!(inflow.finish(&digest(&packed)));
        flow.read(digest(b"tar")).unwrap_err();
    }
}
