//! Downloads one blob of any length: in pieces as they come, resumed where the connection broke off.

use bytes::Bytes;
use holm_api::Digest;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::RegistryError;
use super::refusal::is_passing;
use super::session::Session;

/// A registry that sends another number of bytes than the manifest says.
#[derive(Debug)]
pub(crate) struct WrongSize {
    /// What it sent, or says it would send.
    pub(crate) got: u64,
}

/// Why a blob did not come.
#[derive(Debug)]
pub(crate) enum BlobError {
    /// The registry or the way to it.
    Registry(RegistryError),
    /// It is another size than promised.
    Size(WrongSize),
    /// Whoever takes the pieces takes no more; the reason is theirs.
    Taker,
}

impl Session {
    /// Sends all `size` bytes of a blob in order, each once. Their digest is for the taker to check.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        size: u64,
        taker: &Sender<Bytes>,
    ) -> Result<(), BlobError> {
        let mut taken = 0_u64;
        let mut attempt = 1;
        loop {
            let before = taken;
            let error = match self.piece(digest, size, &mut taken, taker).await {
                Ok(()) => return Ok(()),
                Err(BlobError::Registry(error)) if is_passing(&error) => error,
                Err(error) => return Err(error),
            };
            if taken > before {
                // It got further: that may go on for as long as it takes.
                attempt = 1;
            }
            if attempt >= self.patience().attempts {
                return Err(BlobError::Registry(error));
            }
            tracing::debug!(%error, taken, size, attempt, "going on with a blob");
            tokio::time::sleep(self.patience().pause_after(attempt)).await;
            attempt += 1;
        }
    }

    /// One answer's worth.
    async fn piece(
        &self,
        digest: &Digest,
        size: u64,
        taken: &mut u64,
        taker: &Sender<Bytes>,
    ) -> Result<(), BlobError> {
        if *taken == size && size > 0 {
            return Ok(());
        }
        let mut response = self.blob_from(digest, *taken).await.map_err(BlobError::Registry)?;
        let mut position = self.start_of(&response, *taken)?;
        if let Some(length) = response.content_length()
            && position.saturating_add(length) != size
        {
            return Err(BlobError::Size(WrongSize { got: position.saturating_add(length) }));
        }
        let what = digest.to_string();
        loop {
            let chunk = match timeout(self.patience().silence, response.chunk()).await {
                Err(_) => {
                    let waited = self.patience().silence;
                    return Err(BlobError::Registry(RegistryError::Stalled {
                        registry: self.name(),
                        what,
                        waited,
                    }));
                }
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) if position == size => return Ok(()),
                // An answer without length that ends early says so by nothing but its end.
                Ok(Ok(None) | Err(_)) => {
                    let (got, expected) = (*taken, size);
                    return Err(BlobError::Registry(RegistryError::BrokeOff {
                        registry: self.name(),
                        what,
                        got,
                        expected,
                    }));
                }
            };
            let start = position;
            position += chunk.len() as u64;
            if position > size {
                return Err(BlobError::Size(WrongSize { got: position }));
            }
            // A registry that knows no ranges begins anew: what was taken before is passed over.
            let known = usize::try_from(taken.saturating_sub(start)).unwrap_or(usize::MAX).min(chunk.len());
            if known < chunk.len() {
                taker.send(chunk.slice(known..)).await.map_err(|_| BlobError::Taker)?;
                *taken = position;
            }
        }
    }

    /// Where in the blob this answer begins.
    fn start_of(&self, response: &Response, asked: u64) -> Result<u64, BlobError> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(0);
        }
        let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let start =
            range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.parse::<u64>().ok());
        match start {
            Some(start) if start <= asked => Ok(start),
            _ => Err(BlobError::Registry(RegistryError::Protocol {
                registry: self.name(),
                what: format!("asked for a blob from byte {asked} on, it sends another part"),
            })),
        }
    }
}
