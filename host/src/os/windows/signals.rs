//! What a console can say to a command, in the names that containers know.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

/// Catches Ctrl-C from now on: it no longer ends this program and arrives as `INT`.
pub(crate) fn forwarded() -> io::Result<mpsc::Receiver<String>> {
    let (sender, receiver) = mpsc::channel(16);
    let mut arrivals = tokio::signal::windows::ctrl_c()?;
    tokio::spawn(async move {
        while arrivals.recv().await.is_some() {
            if sender.send("INT".to_owned()).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Yields each time the console has changed its size.
pub(crate) struct Resizes(Option<(u16, u16)>);

impl Resizes {
    /// Watches from now on.
    pub(crate) fn watch() -> io::Result<Self> {
        Ok(Self(super::terminal::size()))
    }

    /// Waits for the next change. A console tells of it only among its key events, which belong to the
    /// container, so its size is asked for four times a second.
    pub(crate) async fn next(&mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            let now = super::terminal::size();
            if now != self.0 {
                self.0 = now;
                return;
            }
        }
    }
}
