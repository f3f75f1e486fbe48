//! `docker logs`: reads what a container's shim keeps in Docker's `json-file` format, through rotated files, and
//! on as it is written.
//!
//! ```text
//!   tail.rs    where the last lines begin          entry.rs    one line of the file
//!   files.rs   the files, the oldest first         follow.rs   waits for more of them
//! ```

mod entry;
mod files;
mod follow;
mod tail;
mod timestamp;

pub(crate) use timestamp::Timestamp;

use std::path::PathBuf;

use bytes::Bytes;
use holm_api::stream::Channel;
use tokio::time::Instant;

use super::attach::Form;
use super::container::Container;
use entry::Entry;
use files::Files;
use follow::Changes;

/// Bytes that are gathered before they are sent.
const PIECE: usize = 32 * 1024;

/// What of a log a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Room for the driver's attributes in front of it; this driver has none.
    pub(crate) details: bool,
    /// Framed or as it is.
    pub(crate) form: Form,
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
    let mut writer = Writer { wish, piece: Vec::with_capacity(PIECE) };
    match read_all(&container, path, &mut writer, sink).await {
        Ok(()) => sink.send(writer.take()).await,
        Err(Stop::Gone(gone)) => Err(gone),
        Err(Stop::Failed(error)) => {
            writer.push(Channel::SystemError, [format!("Error grabbing logs: {error}\n").as_bytes()]);
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
        while let Some(mut lines) = files.next().await? {
            while let Some(line) = lines.next().await? {
                if writer.line(line) {
                    sink.send(writer.take()).await.map_err(Stop::Gone)?;
                }
            }
            files.done_with(lines);
        }
        let Some(changes) = changes.as_mut().filter(|_| more) else { return Ok(()) };
        // What there is goes out before we wait for more of it.
        if !writer.piece.is_empty() {
            sink.send(writer.take()).await.map_err(Stop::Gone)?;
        }
        changes.next().await?;
        files.look_again().await?;
    }
}

fn deadline(until: Timestamp) -> Instant {
    Instant::now() + until.distance()
}

/// Turns lines of the file into what the client reads.
struct Writer {
    wish: LogWish,
    piece: Vec<u8>,
}

impl Writer {
    /// Takes a line of the file. Returns whether it is time to send.
    fn line(&mut self, line: &[u8]) -> bool {
        // A line that a lost power tore is no line.
        let Some(entry) = Entry::parse(line) else { return false };
        let wanted = match entry.channel {
            Channel::Stdout => self.wish.stdout,
            _ => self.wish.stderr,
        };
        let too_old = self.wish.since.is_some_and(|since| entry.time < since.time());
        let too_new = self.wish.until.is_some_and(|until| entry.time > until.time());
        if !wanted || too_old || too_new {
            return false;
        }
        let mut front = String::new();
        if self.wish.timestamps {
            front = entry.time.format("%Y-%m-%dT%H:%M:%S%.9fZ ").to_string();
        }
        if self.wish.details {
            front.push(' ');
        }
        self.push(entry.channel, [front.as_bytes(), entry.text.as_bytes()]);
        self.piece.len() >= PIECE
    }

    /// Straight into the piece: a log has millions of lines.
    fn push<const N: usize>(&mut self, channel: Channel, parts: [&[u8]; N]) {
        let length = parts.iter().map(|part| part.len()).sum();
        self.piece.extend(self.wish.form.header(channel, length).into_iter().flatten());
        parts.iter().for_each(|part| self.piece.extend_from_slice(part));
    }

    fn take(&mut self) -> Bytes {
        std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(change: impl FnOnce(&mut LogWish)) -> Writer {
        let mut wish = LogWish {
            stdout: true,
            stderr: true,
            since: None,
            until: None,
            tail: None,
            follow: false,
            timestamps: false,
            details: false,
            form: Form::Raw,
        };
        change(&mut wish);
        Writer { wish, piece: Vec::new() }
    }

    fn written(change: impl FnOnce(&mut LogWish)) -> String {
        let mut writer = writer(change);
        for (stream, second) in [("stdout", 1), ("stderr", 2), ("stdout", 3)] {
            let line = format!(
                r#"{{"log":"{stream} {second}\n","stream":"{stream}","time":"1970-01-01T00:00:0{second}.5Z"}}"#
            );
            writer.line(line.as_bytes());
        }
        String::from_utf8(writer.piece).unwrap()
    }

    #[test]
    fn lines_are_chosen_by_stream_and_time() {
        assert_eq!(written(|_| ()), "stdout 1\nstderr 2\nstdout 3\n");
        assert_eq!(written(|wish| wish.stderr = false), "stdout 1\nstdout 3\n");
        assert_eq!(written(|wish| wish.since = Timestamp::parse("2").ok()), "stderr 2\nstdout 3\n");
        assert_eq!(written(|wish| wish.until = Timestamp::parse("2.5").ok()), "stdout 1\nstderr 2\n");
    }

    #[test]
    fn times_have_nine_digits_and_details_a_space() {
        assert!(
            written(|wish| wish.timestamps = true).starts_with("1970-01-01T00:00:01.500000000Z stdout 1\n")
        );
        assert!(written(|wish| wish.details = true).starts_with(" stdout 1\n"));
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let mut writer = writer(|_| ());
        assert!(!writer.line(br#"{"log":"half"#));
        assert!(writer.piece.is_empty());
    }
}
