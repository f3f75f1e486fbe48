//! The signals that a command hands on to its container.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Those that a user or a service manager sends to a program on purpose. Docker forwards every signal that
/// can be caught; the rest are about the client itself (its children, its pipes, its stops).
const FORWARDED: [(&str, i32); 6] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("TERM", libc::SIGTERM),
];

/// Catches the signals to forward from now on: they no longer end this program, and their names arrive in
/// the order in which they were sent.
pub(crate) fn forwarded() -> io::Result<mpsc::Receiver<&'static str>> {
    // Signals that find the queue full would have been merged by the kernel, too.
    let (sender, receiver) = mpsc::channel(16);
    for (name, number) in FORWARDED {
        let mut arrivals = signal(SignalKind::from_raw(number))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() {
                if sender.send(name).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Yields each time the terminal has changed its size.
pub(crate) struct Resizes(tokio::signal::unix::Signal);

impl Resizes {
    /// Watches from now on.
    pub(crate) fn watch() -> io::Result<Self> {
        signal(SignalKind::window_change()).map(Self)
    }

    /// Waits for the next change.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}
