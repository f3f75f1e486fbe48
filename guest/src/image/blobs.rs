//! Bytes under the name of their digest: manifests, configurations and layers, as they came.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holm_api::Digest;

use super::durable::{self, SCRATCH};

const FOLDER: &str = "blobs/sha256";

/// The folder of blobs. What is in it is whole; it is durable once the file system was synced.
#[derive(Debug)]
pub(super) struct Blobs {
    root: PathBuf,
}

/// A file that becomes a blob when its bytes are found right, and vanishes otherwise.
#[derive(Debug)]
pub(super) struct HalfBlob {
    path: PathBuf,
    kept: bool,
}

impl Blobs {
    /// `root` is the images' folder; its `tmp` exists.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join(FOLDER))?;
        Ok(Self { root: root.to_owned() })
    }

    /// Where the blob is, or would be.
    pub(super) fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(FOLDER).join(digest.hex())
    }

    /// Whether the blob is there.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// A small blob's bytes; one over `limit` is an error.
    pub(super) fn read(&self, digest: &Digest, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.path(digest))?.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the blob is longer than it may be"));
        }
        Ok(bytes)
    }

    /// Keeps bytes whose digest the caller has checked.
    pub(super) fn write(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let half = self.begin()?;
        fs::write(&half.path, bytes)?;
        self.keep(half, digest)
    }

    /// A new, empty file to write a blob to.
    pub(super) fn begin(&self) -> io::Result<HalfBlob> {
        let path = self.root.join(SCRATCH).join(durable::scratch_name());
        OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok(HalfBlob { path, kept: false })
    }

    /// Gives a checked file its name.
    pub(super) fn keep(&self, mut half: HalfBlob, digest: &Digest) -> io::Result<()> {
        fs::rename(&half.path, self.path(digest))?;
        half.kept = true;
        Ok(())
    }

    /// Removes a blob; one that is not there is no error.
    pub(super) fn remove(&self, digest: &Digest) -> io::Result<()> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All blobs that are there. A file that is named like none is removed: nothing could ever refer to it.
    pub(super) fn list(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for entry in fs::read_dir(self.root.join(FOLDER))? {
            let entry = entry?;
            match entry.file_name().to_str().and_then(|name| format!("sha256:{name}").parse().ok()) {
                Some(digest) => digests.push(digest),
                None => fs::remove_file(entry.path())?,
            }
        }
        Ok(digests)
    }
}

impl HalfBlob {
    /// Where its bytes go.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for HalfBlob {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody is left to be told; a leftover goes at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(SCRATCH)).unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        (root, blobs)
    }

    #[test]
    fn a_blob_is_read_back_and_not_past_its_limit() {
        let (_root, blobs) = blobs();
        let digest = Digest::from_bytes([1; 32]);
        blobs.write(&digest, b"text").unwrap();
        assert_eq!(blobs.read(&digest, 4).unwrap(), b"text");
        assert_eq!(blobs.read(&digest, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(blobs.list().unwrap(), [digest]);
    }

    #[test]
    fn a_half_made_blob_vanishes_with_its_maker() {
        let (root, blobs) = blobs();
        drop(blobs.begin().unwrap());
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn files_that_are_no_blobs_are_removed() {
        let (root, blobs) = blobs();
        fs::write(root.path().join(FOLDER).join("stray"), b"").unwrap();
        assert!(blobs.list().unwrap().is_empty());
        assert!(!root.path().join(FOLDER).join("stray").exists());
    }
}
