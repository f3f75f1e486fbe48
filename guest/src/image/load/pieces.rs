//! What a client sends, as a stream that blocks, with a compression of the whole taken off.

use std::io::{self, BufReader, Cursor, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;

use super::LoadError;
use crate::image::stream::{Packing, Wide, Windows};

/// Bytes taken at once.
const BUFFER: usize = 128 << 10;
/// Bytes that tell the compression.
const FIRST: u64 = 18;

/// A client's bytes, piece by piece. An empty piece says that this was all: a client that goes away says nothing.
pub(crate) struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
    ended: bool,
}

impl Pieces {
    /// To be read where it may block.
    pub(crate) fn new(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, piece: Bytes::new(), ended: false }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            self.piece = self.receiver.blocking_recv().ok_or(io::ErrorKind::UnexpectedEof)??;
            self.ended = self.piece.is_empty();
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

/// The bytes below the compression, and what they need while they come.
pub(in crate::image) struct Plain {
    reader: Box<dyn Read>,
    _wide: Option<Wide>,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// Takes the compression off, which the first bytes tell.
pub(in crate::image) fn uncompressed(mut input: Pieces, windows: &Arc<Windows>) -> Result<Plain, LoadError> {
    let mut first = Vec::new();
    let failed = |cause| LoadError::Archive(crate::archive::ArchiveError::Read(cause));
    input.by_ref().take(FIRST).read_to_end(&mut first).map_err(failed)?;
    let packing = Packing::of(&first);
    match first.as_slice() {
        [b'B', b'Z', b'h', ..] => return Err(LoadError::Packing("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Err(LoadError::Packing("xz")),
        _ => {}
    }
    let known = first.clone();
    let whole = Read::chain(Cursor::new(first), input);
    let (reader, wide): (Box<dyn Read>, _) = match packing {
        Packing::Gzip => (Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))), None),
        Packing::Zstd => {
            let input = BufReader::with_capacity(BUFFER, whole);
            let (decoder, wide) = windows.decoder(&known, input).map_err(failed)?;
            (Box::new(decoder), wide)
        }
        Packing::Plain => (Box::new(whole), None),
    };
    Ok(Plain { reader, _wide: wide })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(pieces: &[&[u8]]) -> Pieces {
        let (sender, receiver) = mpsc::channel(pieces.len().max(1));
        for piece in pieces {
            sender.try_send(Ok(Bytes::copy_from_slice(piece))).unwrap();
        }
        Pieces::new(receiver)
    }

    #[test]
    fn a_client_that_goes_away_is_no_end() {
        let mut text = String::new();
        assert_eq!(sent(&[b"te", b"xt", b""]).read_to_string(&mut text).unwrap(), 4);
        let broken = sent(&[b"te"]).read_to_string(&mut text).unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_compression_is_taken_off_however_the_pieces_are_cut() {
        let gzip = crate::image::fake::gzip(b"content");
        let zstd = zstd::encode_all(&b"content"[..], 1).unwrap();
        for packed in [gzip, zstd, b"content".to_vec()] {
            let (head, tail) = packed.split_at(3);
            let mut plain = uncompressed(sent(&[head, tail, b""]), &Arc::default()).unwrap();
            let mut text = String::new();
            plain.read_to_string(&mut text).unwrap();
            assert_eq!(text, "content");
        }
        let told = uncompressed(sent(&[b"BZh91", b""]), &Arc::default()).err().unwrap();
        assert_eq!(told.to_string(), "archives by bzip2 are not taken; gzip and zstd are");
    }
}
