//! Files of this computer as a tar archive.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

/// Bytes that are sent at once.
const PART: usize = 64 << 10;

/// Writes the archive of the file or directory at `root`, whose top is called `name`. Returns once all is sent;
/// an error is sent too, so that the request breaks off.
pub(super) fn pack(root: &Path, name: &str, sender: Sender<io::Result<Bytes>>) {
    let mut parts = Parts { sender, part: Vec::with_capacity(PART) };
    if let Err(error) = write(root, name, &mut parts) {
        // Nobody is told of an archive that nobody takes any more.
        let _ = parts.sender.blocking_send(Err(error));
    }
}

fn write(root: &Path, name: &str, parts: &mut Parts) -> io::Result<()> {
    let mut archive = tar::Builder::new(&mut *parts);
    archive.follow_symlinks(false);
    // Directories before what is in them; the stack holds siblings in reverse.
    let mut open = vec![(root.to_owned(), PathBuf::from(name))];
    while let Some((path, name)) = open.pop() {
        let found = fs::symlink_metadata(&path)?;
        if found.is_dir() {
            archive.append_dir(&name, &path)?;
            let mut inner: Vec<_> = fs::read_dir(&path)?.collect::<io::Result<_>>()?;
            inner.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
            for entry in inner {
                open.push((entry.path(), name.join(entry.file_name())));
            }
        } else if is_socket(&found) {
            // An archive has no place for it, and it would be nobody's where it arrives.
        } else {
            archive.append_path_with_name(&path, &name)?;
        }
    }
    archive.into_inner()?.flush()
}

#[cfg(unix)]
fn is_socket(found: &fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
}

#[cfg(not(unix))]
fn is_socket(_: &fs::Metadata) -> bool {
    false
}

/// Collects what is written into parts of a fixed size.
struct Parts {
    sender: Sender<io::Result<Bytes>>,
    part: Vec<u8>,
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PART - self.part.len();
        let taken = bytes.len().min(room);
        self.part.extend_from_slice(&bytes[..taken]);
        if self.part.len() == PART {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.part.is_empty() {
            return Ok(());
        }
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(PART));
        self.sender.blocking_send(Ok(part.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
