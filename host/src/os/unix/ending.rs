//! How this system tells a daemon to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Returns when the daemon is told to end: SIGTERM from a service manager, SIGINT from a terminal.
pub(crate) async fn told_to_end() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
