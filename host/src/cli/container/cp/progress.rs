//! How far a copy is, told on the terminal while it goes on.

use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::{self, Receiver};

use crate::cli::output::units;
use crate::cli::session;

/// How often the figure is drawn.
const FRAME: Duration = Duration::from_millis(75);

/// Bytes that have passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts what is read.
    pub(super) fn reading<R: AsyncRead + Unpin>(&self, reader: R) -> Counted<R> {
        Counted { reader, counter: self.clone() }
    }

    /// Counts what is sent.
    pub(super) fn forwarding(&self, mut parts: Receiver<io::Result<Bytes>>) -> Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(1);
        let counter = self.clone();
        // Ends with the parts, or when nobody takes them any more.
        tokio::spawn(async move {
            while let Some(part) = parts.recv().await {
                counter.add(part.as_ref().map_or(0, Bytes::len));
                if sender.send(part).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }
}

/// A reader whose bytes are counted.
pub(super) struct Counted<R> {
    reader: R,
    counter: Counter,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        self.counter.add(buffer.filled().len() - before);
        polled
    }
}

/// What the terminal shows of a copy; nothing where it is not to.
pub(super) struct Progress<'a> {
    header: &'static str,
    shown: bool,
    counter: &'a Counter,
}

impl<'a> Progress<'a> {
    pub(super) fn start(header: &'static str, shown: bool, counter: &'a Counter) -> Self {
        Self { header, shown, counter }
    }

    /// Draws the figure as long as the work goes on.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>) -> T {
        if !self.shown || !io::stderr().is_terminal() {
            return work.await;
        }
        let mut frames = tokio::time::interval(FRAME);
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                _ = frames.tick() => {
                    draw(&format!("{}{}", self.header, human(self.counter.total())));
                }
            }
        };
        draw("");
        result
    }

    /// Tells what was copied.
    pub(super) fn finish(&self, bytes: u64, to: &str) {
        if self.shown {
            session::warn(&format!("Successfully copied {} to {to}", human(bytes)));
        }
    }
}

fn human(bytes: u64) -> String {
    units::size(i64::try_from(bytes).unwrap_or(i64::MAX))
}

/// Puts a text in the place of the line. What is wrong with the terminal cannot be told on it.
fn draw(text: &str) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "\r\x1b[2K{text}").and_then(|()| out.flush());
}
