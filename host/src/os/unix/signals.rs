//! The signals that a command hands on to its container.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// All that can be caught and are not about the client itself: its children (CHLD), its pipes (PIPE), its
/// memory (SEGV, ILL, FPE) and its runtime (URG).
const FORWARDED: [(&str, i32); 20] = [
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("BUS", libc::SIGBUS),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("CONT", libc::SIGCONT),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("SYS", libc::SIGSYS),
];

/// Signals that arrive faster than the engine takes them. Those beyond are dropped, as the kernel merges them.
const WAITING: usize = 128;

/// Catches the signals to forward from now on: they no longer end this program, and their names arrive in
/// the order in which they were sent.
pub(crate) fn forwarded() -> io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let named = FORWARDED.iter().map(|(name, number)| ((*name).to_owned(), *number));
    for (name, number) in named.chain(realtime()) {
        let mut arrivals = signal(SignalKind::from_raw(number))?;
        let sender = sender.clone();
        tokio::spawn(async move {
            while arrivals.recv().await.is_some() {
                if sender.send(name.clone()).await.is_err() {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

/// Those without a name of their own, by their numbers.
#[cfg(target_os = "linux")]
fn realtime() -> impl Iterator<Item = (String, i32)> {
    (libc::SIGRTMIN()..=libc::SIGRTMAX()).map(|number| (number.to_string(), number))
}

/// There are none here.
#[cfg(not(target_os = "linux"))]
fn realtime() -> impl Iterator<Item = (String, i32)> {
    std::iter::empty()
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
