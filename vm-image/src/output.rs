//! The folder the image is put into. A part that is there already, byte for byte, is left alone, so that nothing
//! which depends on its modification time is done again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::digest;

/// A file of the image, as the manifest tells it.
#[derive(Serialize)]
pub(crate) struct Part {
    /// Its name, beside the manifest.
    pub(crate) file: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Of the file as it is, compressed ones included.
    pub(crate) digest: String,
}

/// The folder of the image, while it is being written.
pub(crate) struct Output {
    folder: PathBuf,
    written: usize,
}

impl Output {
    /// Makes the folder where it is missing.
    pub(crate) fn open(folder: &Path) -> Result<Output> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Output { folder: folder.to_owned(), written: 0 })
    }

    /// Makes `name` hold `bytes`. Whoever has the old file open keeps it as it was.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<Part> {
        let path = self.folder.join(name);
        if !fs::read(&path).is_ok_and(|old| old == bytes) {
            let unfinished = self.folder.join(format!(".{name}"));
            fs::write(&unfinished, bytes)
                .and_then(|()| fs::rename(&unfinished, &path))
                .with_context(|| format!("cannot write {}", path.display()))?;
            self.written += 1;
        }
        Ok(Part { file: name.to_owned(), size: bytes.len() as u64, digest: digest::of(bytes) })
    }

    /// What happened, for the person who waited.
    pub(crate) fn summary(&self) -> String {
        match self.written {
            0 => "up to date".to_owned(),
            1 => "1 file changed".to_owned(),
            files => format!("{files} files changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::open(folder.path()).unwrap();
        output.put("vmlinux", b"one").unwrap();
        let before = fs::metadata(folder.path().join("vmlinux")).unwrap().modified().unwrap();

        let mut output = Output::open(folder.path()).unwrap();
        let part = output.put("vmlinux", b"one").unwrap();
        assert_eq!(output.summary(), "up to date");
        assert_eq!(part.digest, digest::of(b"one"));
        assert_eq!(fs::metadata(folder.path().join("vmlinux")).unwrap().modified().unwrap(), before);

        output.put("vmlinux", b"two").unwrap();
        assert_eq!(output.summary(), "1 file changed");
        assert_eq!(fs::read(folder.path().join("vmlinux")).unwrap(), b"two");
    }
}
