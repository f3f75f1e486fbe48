//! Sends blobs and manifests (OCI distribution-spec, "Push"). A blob goes in one `PATCH`, as Docker sends it: some
//! registries take no more of them. Where the connection is lost, the registry is asked how far it got, and the
//! rest follows in another; one that does not know any more gets the blob anew.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use holm_api::Digest;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, Url};

use super::RegistryError;
use super::connection::protocol;
use super::content::{Content, FilePart};
use super::refusal::{blob_unknown, is_passing};
use super::session::{Request, Session};

/// A blob to send.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Where it lies.
    pub(crate) path: PathBuf,
}

/// What became of a mount.
#[derive(Debug)]
pub(crate) enum Mount {
    /// The blob is there now.
    Done,
    /// It is not; here it may be sent to.
    Upload(Url),
}

/// An upload in progress: where the rest goes, and what is there already.
struct Place {
    url: Url,
    offset: u64,
}

impl Session {
    /// Whether the repository has the blob.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        let request = Request {
            method: Method::HEAD,
            url: self.url(&format!("blobs/{digest}")),
            headers: HeaderMap::new(),
            content: Content::Nothing,
        };
        match self.request(request).await.map_err(blob_unknown) {
            Ok(_) => Ok(true),
            Err(RegistryError::BlobUnknown) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry to take the blob from another of its repositories.
    pub(crate) async fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, RegistryError> {
        let mut url = self.url("blobs/uploads/");
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let response = self.empty(Method::POST, url).await?;
        match response.status().as_u16() {
            201 => Ok(Mount::Done),
            _ => self.location(&response).map(Mount::Upload),
        }
    }

    /// Sends a blob, to `place` where a mount has given one. `sent` tells how much is on its way.
    pub(crate) async fn send_blob(
        &self,
        blob: &Blob,
        place: Option<Url>,
        sent: &Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let mut place = place.map(|url| Place { url, offset: 0 });
        let (mut attempt, mut reached) = (1, 0);
        loop {
            let error = match self.send_rest(blob, &mut place, sent).await {
                Ok(()) => return Ok(()),
                Err(error) if is_passing(&error) || is_lost(&error) => error,
                Err(error) => return Err(error),
            };
            if attempt >= self.patience().attempts {
                return Err(error);
            }
            tokio::time::sleep(self.patience().pause_after(attempt)).await;
            place = match place {
                Some(place) if !is_lost(&error) => self.offset(&place.url, blob.size).await,
                _ => None,
            };
            // The answer to the last request may be all that was lost.
            if place.is_none() && self.has_blob(&blob.digest).await.unwrap_or(false) {
                return Ok(());
            }
            let offset = place.as_ref().map_or(0, |place| place.offset);
            tracing::debug!(%error, blob = %blob.digest, offset, attempt, "going on with an upload");
            if offset > reached {
                // It got further: that may go on for as long as it takes.
                (attempt, reached) = (0, offset);
            }
            attempt += 1;
        }
    }

    /// One attempt at all that is missing.
    async fn send_rest(
        &self,
        blob: &Blob,
        place: &mut Option<Place>,
        sent: &Arc<AtomicU64>,
    ) -> Result<(), RegistryError> {
        let Place { mut url, offset } = match place.take() {
            Some(place) => place,
            None => {
                let begun = self.empty(Method::POST, self.url("blobs/uploads/")).await?;
                Place { url: self.location(&begun)?, offset: 0 }
            }
        };
        *place = Some(Place { url: url.clone(), offset });
        if offset < blob.size {
            let part =
                FilePart { path: blob.path.clone(), start: offset, size: blob.size, sent: sent.clone() };
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            if offset > 0
                && let Ok(range) = HeaderValue::from_str(&format!("{offset}-{}", blob.size - 1))
            {
                headers.insert(CONTENT_RANGE, range);
            }
            let request =
                Request { method: Method::PATCH, url: url.clone(), headers, content: Content::File(part) };
            let taken = self.request(request).await?;
            url = self.location(&taken)?;
            *place = Some(Place { url: url.clone(), offset: blob.size });
        }
        url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        self.empty(Method::PUT, url).await.map(drop)
    }

    /// How far an upload got; `None` where the registry does not know it any more.
    async fn offset(&self, url: &Url, size: u64) -> Option<Place> {
        let answer = self.empty(Method::GET, url.clone()).await.ok()?;
        let range = answer.headers().get(RANGE).and_then(|value| value.to_str().ok());
        let offset = range.map_or(Some(0), next_byte).filter(|offset| *offset <= size)?;
        let url = self.location(&answer).unwrap_or_else(|_| url.clone());
        Some(Place { url, offset })
    }

    /// Stores a manifest under a tag.
    pub(crate) async fn put_manifest(
        &self,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_str(media_type);
        headers.insert(
            CONTENT_TYPE,
            kind.map_err(|_| RegistryError::Unreadable(format!("{media_type:?} is no media type")))?,
        );
        let (url, bytes) = (self.url(&format!("manifests/{tag}")), Bytes::from(bytes));
        let mut attempt = 1;
        loop {
            let request = Request {
                method: Method::PUT,
                url: url.clone(),
                headers: headers.clone(),
                content: Content::Bytes(bytes.clone()),
            };
            match self.request(request).await {
                Err(error) if attempt < self.patience().attempts && is_passing(&error) => {
                    tracing::debug!(%error, attempt, "sending a manifest again");
                    tokio::time::sleep(self.patience().pause_after(attempt)).await;
                    attempt += 1;
                }
                other => return other.map(drop),
            }
        }
    }

    async fn empty(&self, method: Method, url: Url) -> Result<Response, RegistryError> {
        self.request(Request { method, url, headers: HeaderMap::new(), content: Content::Nothing }).await
    }

    /// Where an upload goes on. It may be another host's, but never in the open where the registry's is not.
    fn location(&self, response: &Response) -> Result<Url, RegistryError> {
        let base = &self.endpoint.base;
        let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        // As the user's client knows the registry, and not as it was dialled.
        let path = self.url("blobs/uploads/");
        let url = text.and_then(|text| path.join(text).ok());
        let open = |url: &Url| url.scheme() == "http" && (base.scheme() == "http" || self.endpoint.lenient);
        url.filter(|url| url.has_host() && (url.scheme() == "https" || open(url)))
            .ok_or_else(|| protocol(base, "it takes an upload but does not say where"))
    }
}

/// Whether the registry has forgotten the upload, or counts it otherwise than we do.
fn is_lost(error: &RegistryError) -> bool {
    match error {
        RegistryError::Refused { code, .. } => {
            matches!(code.as_str(), "BLOB_UPLOAD_UNKNOWN" | "BLOB_UPLOAD_INVALID" | "RANGE_INVALID")
        }
        RegistryError::Status { status, .. } => status.starts_with("416"),
        _ => false,
    }
}

/// The byte after `0-41`, as registries tell what they have (some with `bytes=` in front).
fn next_byte(range: &str) -> Option<u64> {
    let (first, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    // `0-0` is how a registry tells of one byte and of none; one that is sent twice does no harm, one that is
    // missing does.
    if first != 0 || last == 0 { (first == 0).then_some(0) } else { last.checked_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_byte_follows_the_last() {
        assert_eq!(next_byte("0-41"), Some(42));
        assert_eq!(next_byte("bytes=0-41"), Some(42));
        assert_eq!(next_byte("0-0"), Some(0));
        for wrong in ["", "7-9", "0-", "-5", "0-18446744073709551615", "x-y"] {
            assert_eq!(next_byte(wrong), None, "{wrong}");
        }
    }
}
