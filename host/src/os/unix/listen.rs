//! Listening on a Unix socket that only its owner may open.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

/// Until some connection has ended and its descriptor is free; the clients wait in the backlog.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// A client that came.
pub(crate) type Client = UnixStream;

/// A socket in the file system. Dropping it removes the file.
pub(crate) struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens at `path`, in the place of whatever a daemon that was killed left there. The caller holds the lock
    /// that makes it the only daemon, and the folder lets nobody else in, so the moment before the mode is set
    /// is nobody's chance.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let socket = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self { socket, path: path.to_owned() })
    }

    /// The next client. Being out of descriptors for a moment ends no listener.
    pub(crate) async fn accept(&mut self) -> io::Result<Client> {
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => return Ok(stream),
                Err(e) if matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                    tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
                }
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_its_owners_alone_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.sock");
        fs::write(&path, "left by a killed daemon").unwrap();
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(listener);
        assert!(!path.exists());
    }
}
