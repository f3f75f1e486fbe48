//! A container's log in Docker's `json-file` format, one JSON object a line:
//! `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.678901234Z"}`. A line over 16 KiB is several
//! objects, of which only the last one's text ends in a line feed; so is what a container wrote last without one.
//! Escapes and times are as moby's `jsonlog` writes them, so that its readers take ours.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use holm_api::stream::Channel;
use memchr::memchr;

use super::compress::{Compressor, compressed};
use super::protocol::{LogEnd, LogFile, Rotated};

/// Bytes of text in one object at most.
const LONGEST_TEXT: usize = 16 * 1024;

/// Writes the log of one container.
#[derive(Debug)]
pub struct LogWriter {
    settings: LogFile,
    file: File,
    size: u64,
    /// What was written on standard output and standard error after the last line feed.
    unfinished: [Vec<u8>; 2],
    /// Objects that are ready to be written.
    ready: Vec<u8>,
    compressor: Compressor,
}

impl LogWriter {
    /// Goes on with the file where there is one: a restarted container keeps its log.
    pub fn open(settings: LogFile) -> io::Result<Self> {
        let file = open(&settings.path)?;
        let size = file.metadata()?.len();
        let (unfinished, ready) = Default::default();
        let mut log = Self { settings, file, size, unfinished, ready, compressor: Compressor::default() };
        // What an earlier shim was killed over.
        if fs::exists(numbered(&log.settings.path, 1))? {
            log.compress();
        }
        Ok(log)
    }

    /// Whether the file is full and cannot be rotated away yet, since the one before it is being compressed. Whoever
    /// writes all the same makes it larger.
    pub fn is_held_up(&self) -> bool {
        self.compressor.is_running() && self.size >= self.limit()
    }

    /// Whether a file that was rotated away is being compressed.
    pub fn is_compressing(&self) -> bool {
        self.compressor.is_running()
    }

    /// A child of this process was reaped.
    pub fn child_ended(&mut self, pid: i32) {
        self.compressor.ended(pid);
    }

    /// Where it ends by now.
    pub fn end(&self) -> io::Result<LogEnd> {
        Ok(LogEnd { inode: self.file.metadata()?.ino(), size: self.size })
    }

    /// What was written after that, of a line that goes on.
    pub fn unfinished(&self) -> impl Iterator<Item = (Channel, &[u8])> {
        [Channel::Stdout, Channel::Stderr].into_iter().zip(&self.unfinished).map(|(of, text)| (of, &**text))
    }

    fn limit(&self) -> u64 {
        self.settings.max_size.unwrap_or(u64::MAX)
    }

    /// Takes what the container wrote and puts every line that is complete into the file.
    pub fn write(&mut self, channel: Channel, mut bytes: &[u8], now: SystemTime) -> io::Result<()> {
        let (index, stream) = match channel {
            Channel::Stderr => (1, "stderr"),
            _ => (0, "stdout"),
        };
        let time = rfc3339_nanos(now);
        let mut text = std::mem::take(&mut self.unfinished[index]);
        let mut result = Ok(());
        while !bytes.is_empty() {
            let room = LONGEST_TEXT - text.len();
            let line = memchr(b'\n', &bytes[..room.min(bytes.len())]).map(|at| at + 1);
            let (taken, rest) = bytes.split_at(line.unwrap_or(room.min(bytes.len())));
            text.extend_from_slice(taken);
            bytes = rest;
            if line.is_some() {
                result = result.and(self.add(&text, stream, &time));
                text.clear();
            } else if text.len() == LONGEST_TEXT {
                // The limit may fall inside a character: its bytes go with the next object.
                let whole = whole_characters(&text);
                result = result.and(self.add(&text[..whole], stream, &time));
                text.drain(..whole);
            }
        }
        self.unfinished[index] = text;
        result.and(self.flush())
    }

    /// Writes what was left without a line feed. Nothing goes on after it.
    pub fn finish(&mut self, now: SystemTime) -> io::Result<()> {
        self.compressor.stop();
        self.settings.rotated = Rotated::Plain;
        let time = rfc3339_nanos(now);
        let mut result = Ok(());
        for (index, stream) in ["stdout", "stderr"].into_iter().enumerate() {
            let text = std::mem::take(&mut self.unfinished[index]);
            if !text.is_empty() {
                result = result.and(self.add(&text, stream, &time));
            }
        }
        result.and(self.flush())
    }

    fn add(&mut self, text: &[u8], stream: &str, time: &str) -> io::Result<()> {
        if self.size + self.ready.len() as u64 >= self.limit() && !self.compressor.is_running() {
            self.flush()?;
            self.rotate()?;
        }
        self.ready.extend_from_slice(b"{\"log\":\"");
        escape(text, &mut self.ready);
        self.ready.extend_from_slice(b"\",\"stream\":\"");
        self.ready.extend_from_slice(stream.as_bytes());
        self.ready.extend_from_slice(b"\",\"time\":\"");
        self.ready.extend_from_slice(time.as_bytes());
        self.ready.extend_from_slice(b"\"}\n");
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.ready);
        let length = self.ready.len() as u64;
        self.ready.clear();
        match written {
            Ok(()) => {
                self.size += length;
                Ok(())
            }
            Err(full) => {
                // A full disk may have taken half an object, which would spoil the line after it as well.
                self.file.set_len(self.size)?;
                Err(full)
            }
        }
    }

    /// Makes room: `<log>.1` is the newest of the old files.
    fn rotate(&mut self) -> io::Result<()> {
        let path = &self.settings.path;
        let last = self.settings.max_files.saturating_sub(1);
        if last == 0 {
            absent_is_fine(fs::remove_file(path))?;
        } else {
            absent_is_fine(fs::remove_file(numbered(path, last)))?;
            absent_is_fine(fs::remove_file(compressed(&numbered(path, last))))?;
            for number in (1..last).rev() {
                let (from, to) = (numbered(path, number), numbered(path, number + 1));
                absent_is_fine(fs::rename(&from, &to))?;
                absent_is_fine(fs::rename(compressed(&from), compressed(&to)))?;
            }
            absent_is_fine(fs::rename(path, numbered(path, 1)))?;
        }
        self.file = open(path)?;
        self.size = 0;
        self.compress();
        Ok(())
    }

    /// Lets the file that was rotated away last be compressed, if that is wanted.
    fn compress(&mut self) {
        if self.settings.rotated == Rotated::Compressed
            && let Err(error) = self.compressor.start(&numbered(&self.settings.path, 1))
        {
            // It is as good a log as it is.
            tracing::error!("cannot compress a log: {error}");
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// How many bytes of `text` come before a character that it cuts off.
fn whole_characters(text: &[u8]) -> usize {
    match std::str::from_utf8(text) {
        Err(e) if e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
        // Complete, or no UTF-8 at all before the end.
        _ => text.len(),
    }
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        // Nearly always, and faster than in pieces.
        Ok(valid) => escape_valid(valid.as_bytes(), out),
        Err(_) => {
            for chunk in text.utf8_chunks() {
                escape_valid(chunk.valid().as_bytes(), out);
                for _ in chunk.invalid() {
                    out.extend_from_slice(b"\\ufffd");
                }
            }
        }
    }
}

/// Copies what may stand as it is in one go: output is mostly that.
fn escape_valid(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = text[at..].iter().position(|byte| MAY_NEED_ESCAPE[usize::from(*byte)]) {
        at += found;
        let byte = text[at];
        let (escaped, length) = match byte {
            b'"' => (*b"\\\"    ", 1),
            b'\\' => (*b"\\\\    ", 1),
            b'\n' => (*b"\\n    ", 1),
            b'\r' => (*b"\\r    ", 1),
            LINE_SEPARATORS if text[at..].starts_with("\u{2028}".as_bytes()) => (*b"\\u2028", 3),
            LINE_SEPARATORS if text[at..].starts_with("\u{2029}".as_bytes()) => (*b"\\u2029", 3),
            LINE_SEPARATORS => {
                at += 1;
                continue;
            }
            _ => ([b'\\', b'u', b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]], 1),
        };
        out.extend_from_slice(&text[copied..at]);
        out.extend_from_slice(escaped.trim_ascii_end());
        at += length;
        copied = at;
    }
    out.extend_from_slice(&text[copied..]);
}

/// First byte of U+2028 and U+2029, which are line feeds to JavaScript, and of many harmless characters.
const LINE_SEPARATORS: u8 = 0xe2;

/// By byte.
const MAY_NEED_ESCAPE: [bool; 256] = {
    let mut all = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        all[byte] = true;
        byte += 1;
    }
    let mut rest: &[u8] = &[b'"', b'\\', b'<', b'>', b'&', LINE_SEPARATORS];
    while let [byte, others @ ..] = rest {
        all[*byte as usize] = true;
        rest = others;
    }
    all
};

/// Go's `time.RFC3339Nano`: no trailing zeros in the fraction.
fn rfc3339_nanos(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let date = DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default();
    let text = date.format("%Y-%m-%dT%H:%M:%S%.9f").to_string();
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: SystemTime = UNIX_EPOCH;

    fn writer(folder: &Path, max_size: Option<u64>, max_files: u32) -> LogWriter {
        let path = folder.join("log");
        LogWriter::open(LogFile { path, max_size, max_files, rotated: Rotated::Plain }).unwrap()
    }

    fn texts(path: &Path) -> Vec<String> {
        let content = fs::read_to_string(path).unwrap();
        content
            .lines()
            .map(|line| {
                let object: serde_json::Value = serde_json::from_str(line).unwrap();
                object["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn a_line_is_written_as_docker_writes_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), None, 1);
        let now = UNIX_EPOCH + Duration::new(1_700_000_000, 123_400_000);
        log.write(Channel::Stderr, b"a<\"\t\xff\n", now).unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("log")).unwrap(),
            "{\"log\":\"a\\u003c\\\"\\u0009\\ufffd\\n\",\"stream\":\"stderr\",\"time\":\"2023-11-14T22:13:20.1234Z\"}\n"
        );
    }

    #[test]
    fn a_line_that_comes_in_pieces_is_one_object_and_the_last_needs_no_line_feed() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), None, 1);
        log.write(Channel::Stdout, b"one\ntw", NOW).unwrap();
        log.write(Channel::Stderr, b"err\n", NOW).unwrap();
        log.write(Channel::Stdout, b"o\nthree", NOW).unwrap();
        assert_eq!(texts(&folder.path().join("log")), ["one\n", "err\n", "two\n"]);
        log.finish(NOW).unwrap();
        assert_eq!(texts(&folder.path().join("log"))[3], "three");
    }

    #[test]
    fn a_long_line_is_split_between_characters() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), None, 1);
        let line = format!("a{}\n", "é".repeat(20_000));
        log.write(Channel::Stdout, line.as_bytes(), NOW).unwrap();
        let texts = texts(&folder.path().join("log"));
        assert_eq!(texts.concat(), line);
        assert_eq!(texts[0].len(), LONGEST_TEXT - 1);
        assert_eq!(texts.len(), 3);
    }

    #[test]
    fn bytes_that_are_no_text_are_split_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), None, 1);
        log.write(Channel::Stdout, &[0x80; 40_000], NOW).unwrap();
        log.finish(NOW).unwrap();
        assert_eq!(texts(&folder.path().join("log")).concat().chars().count(), 40_000);
    }

    #[test]
    fn a_full_file_is_rotated_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = writer(folder.path(), Some(1), 3);
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            log.write(Channel::Stdout, line.as_bytes(), NOW).unwrap();
        }
        assert_eq!(texts(&folder.path().join("log")), ["4\n"]);
        assert_eq!(texts(&folder.path().join("log.1")), ["3\n"]);
        assert_eq!(texts(&folder.path().join("log.2")), ["2\n"]);
        assert!(!folder.path().join("log.3").exists());
    }

    #[test]
    fn a_single_file_starts_again_and_a_restart_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        writer(folder.path(), Some(1), 1).write(Channel::Stdout, b"1\n", NOW).unwrap();
        writer(folder.path(), None, 1).write(Channel::Stdout, b"2\n", NOW).unwrap();
        assert_eq!(texts(&folder.path().join("log")), ["1\n", "2\n"]);
        writer(folder.path(), Some(1), 1).write(Channel::Stdout, b"3\n", NOW).unwrap();
        assert_eq!(texts(&folder.path().join("log")), ["3\n"]);
        assert!(!folder.path().join("log.1").exists());
    }

    #[test]
    fn what_javascript_would_take_for_the_end_of_a_line_is_escaped_and_its_neighbours_are_not() {
        let escaped = |text: &[u8]| {
            let mut out = Vec::new();
            escape(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            escaped("a\u{2027}\u{2028}\u{2029}\u{202a}é".as_bytes()),
            "a\u{2027}\\u2028\\u2029\u{202a}é"
        );
        assert_eq!(escaped(b"<\x01&\"\\\r\n>"), "\\u003c\\u0001\\u0026\\\"\\\\\\r\\n\\u003e");
        assert_eq!(escaped(b"\xe2\x80 \xe2"), "\\ufffd\\ufffd \\ufffd");
    }

    #[test]
    fn a_time_has_no_trailing_zeros() {
        assert_eq!(rfc3339_nanos(UNIX_EPOCH), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339_nanos(UNIX_EPOCH + Duration::new(10, 50)), "1970-01-01T00:00:10.00000005Z");
    }
}
