//! Lines of a log as a client reads them: chosen, with what is to stand in front, framed, and gathered.

use bytes::Bytes;
use holm_api::stream::{Channel, HEADER};

use super::entry::Entry;
use super::stamp::Stamp;
use super::{Frames, LogWish, Timestamp};

/// Bytes that are gathered before they are sent.
const PIECE: usize = 64 * 1024;
/// Bytes of one frame of many lines at most, but for a line that is longer.
const FRAME: usize = 16 * 1024;

/// Turns lines of the file into what the client reads.
pub(super) struct Writer {
    pub(super) wish: LogWish,
    since: Option<Stamp>,
    until: Option<Stamp>,
    piece: Vec<u8>,
    /// The last frame of the piece: whose it is, and where it begins.
    frame: Option<(Channel, usize)>,
}

impl Writer {
    pub(super) fn new(wish: LogWish) -> Self {
        let stamp = |time: Option<Timestamp>| time.map(|time| Stamp::of(time.time()));
        let (since, until) = (stamp(wish.since), stamp(wish.until));
        Self { wish, since, until, piece: Vec::with_capacity(PIECE), frame: None }
    }

    /// Takes a line of the file. Returns whether it is time to send.
    pub(super) fn line(&mut self, line: &[u8]) -> bool {
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

    /// Straight into the piece: a log has millions of lines.
    pub(super) fn push(&mut self, channel: Channel, write: impl FnOnce(&mut Vec<u8>)) {
        let goes_on = self.frame.filter(|(whose, start)| {
            *whose == channel && self.wish.frames == Frames::Blocks && self.piece.len() - start < FRAME
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

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.piece.is_empty()
    }

    /// What is to be sent.
    pub(super) fn take(&mut self) -> Bytes {
        self.frame = None;
        std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::attach::Form;

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
            frames: Frames::Lines,
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

    fn written_in(frames: Frames) -> Vec<(u8, usize)> {
        let mut writer = writer(|wish| (wish.form, wish.frames) = (Form::Multiplexed, frames));
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
    fn a_frame_is_a_line_or_as_many_of_one_stream_as_follow_each_other() {
        assert_eq!(written_in(Frames::Lines), [(1, 4), (1, 4), (2, 4), (1, 4)]);
        assert_eq!(written_in(Frames::Blocks), [(1, 8), (2, 4), (1, 4)]);
    }

    #[test]
    fn no_frame_grows_without_bound() {
        let mut writer = writer(|wish| (wish.form, wish.frames) = (Form::Multiplexed, Frames::Blocks));
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
