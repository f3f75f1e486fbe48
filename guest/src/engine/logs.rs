//! `docker logs`: reads what a container's shim keeps in Docker's `json-file` format, through rotated files, and
//! on as it is written.
//!
//! ```text
//!   tail.rs    where the last lines begin          entry.rs    one line of the file (stamp.rs: its time)
//!   files.rs   the files, the oldest first         follow.rs   waits for more of them
//! ```

mod entry;
mod files;
mod follow;
mod stamp;
mod tail;
mod timestamp;

pub(crate) use timestamp::Timestamp;

use std::path::PathBuf;

use bytes::Bytes;
use holm_api::stream::{Channel, HEADER};
use tokio::time::Instant;

use super::attach::Form;
use super::container::Container;
use entry::Entry;
use files::Files;
use follow::Changes;
use stamp::Stamp;

/// Bytes that are gathered before they are sent.
const PIECE: usize = 64 * 1024;
/// Bytes of one frame at most, but for a line that is longer.
const FRAME: usize = 16 * 1024;

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
    match read_all(&container, path, &mut writer, sink).await {
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
    since: Option<Stamp>,
    until: Option<Stamp>,
    piece: Vec<u8>,
    /// The last frame of the piece: whose it is, and where it begins.
    frame: Option<(Channel, usize)>,
}

impl Writer {
    fn new(wish: LogWish) -> Self {
        let stamp = |time: Option<Timestamp>| time.map(|time| Stamp::of(time.time()));
        let (since, until) = (stamp(wish.since), stamp(wish.until));
        Self { wish, since, until, piece: Vec::with_capacity(PIECE), frame: None }
    }

    /// Takes a line of the file. Returns whether it is time to send.
    fn line(&mut self, line: &[u8]) -> bool {
        // A line that a lost power tore is no line.
        let Some(entry) = Entry::parse(line) else { return false };
        let wanted = match entry.channel {
            Channel::Stdout => self.wish.stdout,
            _ => self.wish.stderr,
        };
        let too_old = self.since.is_some_and(|since| entry.time < since);
        let too_new = self.until.is_some_and(|until| entry.time > until);
        if !wanted || too_old || too_new {
            return false;
        }
        let timestamps = self.wish.timestamps;
        let details = self.wish.details.take();
        self.push(entry.channel, |piece| {
            if timestamps {
                piece.extend_from_slice(entry.time.as_bytes());
                piece.push(b' ');
            }
            if let Some(details) = &details {
                piece.extend_from_slice(details.as_bytes());
                piece.push(b' ');
            }
            entry.text.append_to(piece);
        });
        self.wish.details = details;
        self.piece.len() >= PIECE
    }

    /// Straight into the piece: a log has millions of lines. A follower gets a frame for each line, as moby sends it;
    /// who reads what is there gets as many in one as fit, since clients take each frame on its own.
    fn push(&mut self, channel: Channel, write: impl FnOnce(&mut Vec<u8>)) {
        let goes_on = self.frame.filter(|(whose, start)| {
            *whose == channel && !self.wish.follow && self.piece.len() - start < FRAME
        });
        let start = goes_on.map_or(self.piece.len(), |(_, start)| start);
        if goes_on.is_none() {
            self.piece.extend(self.wish.form.header(channel, 0).into_iter().flatten());
        }
        write(&mut self.piece);
        let length = self.piece.len() - start;
        if let Some(header) = self.wish.form.header(channel, length.saturating_sub(HEADER)) {
            self.piece[start..start + HEADER].copy_from_slice(&header);
        }
        self.frame = Some((channel, start));
    }

    fn take(&mut self) -> Bytes {
        self.frame = None;
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
            details: None,
            form: Form::Raw,
        };
        change(&mut wish);
        Writer::new(wish)
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
    fn times_have_nine_digits_and_details_come_first() {
        assert!(
            written(|wish| wish.timestamps = true).starts_with("1970-01-01T00:00:01.500000000Z stdout 1\n")
        );
        assert!(written(|wish| wish.details = Some("a=b".into())).starts_with("a=b stdout 1\n"));
    }

    fn frames(follow: bool) -> Vec<(u8, usize)> {
        let mut writer = writer(|wish| (wish.form, wish.follow) = (Form::Multiplexed, follow));
        for stream in ["stdout", "stdout", "stderr", "stdout"] {
            let line = format!(r#"{{"log":"abc\n","stream":"{stream}","time":"1970-01-01T00:00:01Z"}}"#);
            writer.line(line.as_bytes());
        }
        let mut rest = writer.piece.as_slice();
        let mut frames = Vec::new();
        while let Some((header, more)) = rest.split_first_chunk::<HEADER>() {
            let length = usize::from(header[7]);
            frames.push((header[0], length));
            rest = &more[length..];
        }
        frames
    }

    #[test]
    fn a_follower_gets_a_frame_a_line_and_others_larger_ones() {
        assert_eq!(frames(true), [(1, 4), (1, 4), (2, 4), (1, 4)]);
        assert_eq!(frames(false), [(1, 8), (2, 4), (1, 4)]);
    }

    #[test]
    fn no_frame_grows_without_bound() {
        let mut writer = writer(|wish| wish.form = Form::Multiplexed);
        let line =
            format!(r#"{{"log":"{}\n","stream":"stdout","time":"1970-01-01T00:00:01Z"}}"#, "x".repeat(9000));
        assert!((0..3).all(|_| !writer.line(line.as_bytes())));
        assert_eq!(writer.piece.len(), 3 * 9001 + 2 * HEADER);
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let mut writer = writer(|_| ());
        assert!(!writer.line(br#"{"log":"half"#));
        assert!(writer.piece.is_empty());
    }
}
