//! How this system tells a daemon to end.

use std::io;

/// Returns when the daemon is told to end: Ctrl-C in its console.
pub(crate) async fn told_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
