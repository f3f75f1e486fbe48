//! `docker logs`: reads what a container's shim keeps in Docker's `json-file` format, through rotated files, and
//! on as it is written.
//!
//! ```text
//!   tail.rs    where the last lines begin          entry.rs    one line of the file (stamp.rs: its time)
//!   files.rs   the files, the oldest first         follow.rs   waits for more of them
//!   replay.rs  up to where a client is attached    writer.rs   what the client reads
//! ```

mod entry;
mod files;
mod follow;
mod replay;
mod stamp;
mod tail;
mod timestamp;
mod writer;

pub(crate) use replay::Replay;
pub(crate) use timestamp::Timestamp;

use std::path::PathBuf;

use bytes::Bytes;
use holm_api::stream::Channel;
use tokio::time::Instant;

use super::attach::Form;
use super::container::Container;
use files::Files;
use follow::Changes;
use writer::Writer;

/// What of a log a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogWish {
    /// Standard output.
    pub(crate) stdout: bool,
    /// Standard error.
    pub(crate) stderr: bool,
    /// Nothing older.
    pub(crate) since: Option<Timestamp>,
    /// Nothing newer.
    pub(crate) until: Option<Timestamp>,
    /// Only so many lines of what is there; `None` is all.
    pub(crate) tail: Option<u64>,
    /// On, until the container ends.
    pub(crate) follow: bool,
    /// Each line's time in front of it.
    pub(crate) timestamps: bool,
    /// The container's attributes in front of it (`--details`); `None` shows none.
    pub(crate) details: Option<String>,
    /// Framed or as it is.
    pub(crate) form: Form,
    /// What a frame holds.
    pub(crate) frames: Frames,
}

/// What a frame holds, where there are frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frames {
    /// One line, as moby sends it: libraries give frames to their callers one by one.
    Lines,
    /// As many lines as fit, for who only copies them: it would write each frame on its own.
    Blocks,
}

/// Where a log goes: a response's body, or a connection that is no longer HTTP.
pub(crate) trait LogSink: Send {
    /// Says that nobody reads any more.
    type Gone: Send;

    /// Takes a piece, and waits for a slow reader.
    fn send(&mut self, piece: Bytes) -> impl Future<Output = Result<(), Self::Gone>> + Send;
}

/// Gives the log to `sink` piece by piece, until it ends or nobody takes it any more.
///
/// A failure in the middle goes to the client within the stream, as moby does it: the status is long sent.
pub(crate) async fn read<S: LogSink>(
    container: Container,
    path: PathBuf,
    wish: LogWish,
    sink: &mut S,
) -> Result<(), S::Gone> {
    let mut writer = Writer::new(wish);
    let read = read_all(&container, path, &mut writer, sink).await;
    finish(read, &mut writer, sink).await
}

/// Sends what is left, or why there is no more.
async fn finish<S: LogSink>(
    read: Result<(), Stop<S::Gone>>,
    writer: &mut Writer,
    sink: &mut S,
) -> Result<(), S::Gone> {
    match read {
        Ok(()) => sink.send(writer.take()).await,
        Err(Stop::Gone(gone)) => Err(gone),
        Err(Stop::Failed(error)) => {
            let text = format!("Error grabbing logs: {error}\n");
            writer.push(Channel::SystemError, |piece| piece.extend_from_slice(text.as_bytes()));
            sink.send(writer.take()).await
        }
    }
}

enum Stop<E> {
    Gone(E),
    Failed(std::io::Error),
}

impl<E> From<std::io::Error> for Stop<E> {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error)
    }
}

async fn read_all<S: LogSink>(
    container: &Container,
    path: PathBuf,
    writer: &mut Writer,
    sink: &mut S,
) -> Result<(), Stop<S::Gone>> {
    // Watched before the first read, so that nothing written in between is waited for in vain.
    let runs = container.status().life.pid().is_some();
    let mut changes = match writer.wish.follow && runs {
        true => Some(Changes::watch(&path, container.watch(), writer.wish.until.map(deadline))?),
        false => None,
    };
    let mut files = Files::open(path).await?;
    if let Some(lines) = writer.wish.tail {
        files.skip_to_tail(lines).await?;
    }
    loop {
        let more = changes.as_ref().is_some_and(Changes::may_grow);
        copy(&mut files, writer, sink).await?;
        let Some(changes) = changes.as_mut().filter(|_| more) else { return Ok(()) };
        // What there is goes out before we wait for more of it.
        if !writer.is_empty() {
            sink.send(writer.take()).await.map_err(Stop::Gone)?;
        }
        changes.next().await?;
        files.look_again().await?;
    }
}

/// All that the files have by now.
async fn copy<S: LogSink>(files: &mut Files, writer: &mut Writer, sink: &mut S) -> Result<(), Stop<S::Gone>> {
    while let Some(mut lines) = files.next().await? {
        while let Some(line) = lines.next().await? {
            if writer.line(line) {
                sink.send(writer.take()).await.map_err(Stop::Gone)?;
            }
        }
        files.done_with(lines);
    }
    Ok(())
}

fn deadline(until: Timestamp) -> Instant {
    Instant::now() + until.distance()
}
