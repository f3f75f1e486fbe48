//! Reaching a daemon by its Unix socket.

use std::io;
use std::path::Path;

use tokio::net::UnixStream;

/// The connection to the daemon that listens at `socket`. Needs a Tokio runtime; does not wait.
pub(crate) async fn connect(socket: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(socket).await
}
