//! SHA-256 digests as the manifest writes them: `sha256:` and 64 hex digits.

use std::fs::File;
use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};

/// The digest of `bytes`.
pub(crate) fn of(bytes: &[u8]) -> String {
    written(Sha256::new_with_prefix(bytes))
}

/// The digest of a file's content.
pub(crate) fn of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut file = File::open(path)?;
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(written(hasher)),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn written(hasher: Sha256) -> String {
    format!("sha256:{}", hex::encode(hasher.finalize()))
}
