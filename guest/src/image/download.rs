//! Fetches a file from anywhere, with the settings for registries: what `docker import` is given a URL of.

use std::io;

use bytes::Bytes;
use reqwest::{Response, Url};
use tokio::time::timeout;

use super::{Images, PullError};

impl Images {
    /// The answer to a request for `url`, after redirects, whatever its status.
    pub(crate) async fn download(&self, url: &Url) -> Result<Response, PullError> {
        Ok(self.shared.connection()?.get(url).await?)
    }

    /// The next piece of an answer; `None` at its end, and an error where it is silent for too long.
    pub(crate) async fn piece_of(&self, answer: &mut Response) -> io::Result<Option<Bytes>> {
        loop {
            let piece = timeout(self.shared.settings.patience.silence, answer.chunk()).await;
            let piece = piece.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the download stalled"))?;
            match piece.map_err(io::Error::other)? {
                Some(piece) if piece.is_empty() => {}
                other => return Ok(other),
            }
        }
    }
}
