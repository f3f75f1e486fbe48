//! What a request brings along. A blob is read from its file while it is sent, and may be sent again.

use std::io::{self, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http_body_util::StreamBody;
use hyper::body::Frame;
use reqwest::Body;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

/// Bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// The body of a request.
#[derive(Clone)]
pub(super) enum Content {
    /// None.
    Nothing,
    /// `application/x-www-form-urlencoded`. It holds secrets, so it follows no redirect.
    Form(String),
    /// As it is.
    Bytes(Bytes),
    /// From a file.
    File(FilePart),
}

/// A part of a file, from `start` to its end.
#[derive(Clone)]
pub(super) struct FilePart {
    pub(super) path: PathBuf,
    pub(super) start: u64,
    /// Bytes of the whole file.
    pub(super) size: u64,
    /// Bytes from the file's beginning on that were handed to the connection.
    pub(super) sent: Arc<AtomicU64>,
}

impl FilePart {
    pub(super) fn length(&self) -> u64 {
        self.size.saturating_sub(self.start)
    }

    /// How far the connection has taken it.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) async fn open(&self) -> io::Result<Body> {
        self.sent.store(self.start, Ordering::Relaxed);
        let mut file = File::open(&self.path).await?;
        file.seek(SeekFrom::Start(self.start)).await?;
        let sent = self.sent.clone();
        let pieces = ReaderStream::with_capacity(file.take(self.length()), PIECE).map_ok(move |piece| {
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Frame::data(piece)
        });
        Ok(Body::wrap(StreamBody::new(pieces)))
    }
}
