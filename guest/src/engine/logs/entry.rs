//! One line of a `json-file` log: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`.
//!
//! Logs are long, so a line as our shim writes it is taken apart where it lies, without a JSON parser, and its text is
//! unescaped only when it is known to be wanted. Any other form of the same JSON is read as well, slowly.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use holm_api::stream::Channel;
use memchr::{memchr, memchr2};
use serde::Deserialize;

use super::stamp::Stamp;

/// A line of output, or part of one that was longer than 16 KiB and has no newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// With its newline.
    pub(super) text: Text<'a>,
    /// Where it was written.
    pub(super) channel: Channel,
    /// When it was read from the container.
    pub(super) time: Stamp,
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// With JSON's escapes, all of them well-formed.
    Escaped(&'a str),
    /// As it is.
    Plain(Cow<'a, str>),
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    time: DateTime<Utc>,
}

impl<'a> Entry<'a> {
    /// `None` is no line of a log.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        Self::parse_ours(line).or_else(|| {
            let Written { log, stream, time } = serde_json::from_slice(line).ok()?;
            Some(Self { text: Text::Plain(log), channel: channel(&stream), time: Stamp::of(time) })
        })
    }

    /// A line in the very form in which the shim writes it.
    fn parse_ours(line: &'a [u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"log\":\"")?;
        let end = end_of_string(rest)?;
        let (text, rest) = rest.split_at(end);
        let rest = rest.strip_prefix(b"\",\"stream\":\"")?;
        let (stream, rest) = rest.split_at_checked(memchr(b'"', rest)?)?;
        let channel = match stream {
            b"stdout" => Channel::Stdout,
            b"stderr" => Channel::Stderr,
            _ => return None,
        };
        let time = rest.strip_prefix(b"\",\"time\":\"")?.strip_suffix(b"\"}")?;
        let text = Text::Escaped(std::str::from_utf8(text).ok()?);
        Some(Self { text, channel, time: Stamp::parse(time)? })
    }
}

impl Text<'_> {
    /// Adds it to `out` as the container wrote it.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Plain(text) => out.extend_from_slice(text.as_bytes()),
            Self::Escaped(text) => unescape(text.as_bytes(), out),
        }
    }
}

fn channel(stream: &str) -> Channel {
    if stream == "stderr" { Channel::Stderr } else { Channel::Stdout }
}

/// Where the quote is that ends a string, if every escape before it is whole. What no string may hold is refused.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', &text[at..])?;
        if text[at] == b'"' {
            break;
        }
        at += match text.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' => {
                // One half of a pair means nothing alone; those are left to the parser.
                let code = code(text.get(at + 2..at + 6)?)?;
                char::from_u32(code)?;
                6
            }
            _ => return None,
        };
    }
    let bare = text[..at].iter().any(|byte| *byte < 0x20);
    (!bare).then_some(at)
}

fn code(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

/// Undoes the escapes that [`end_of_string`] has seen.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let length = match text.get(at + 1) {
            Some(b'u') => {
                let character = text.get(at + 2..at + 6).and_then(code).and_then(char::from_u32);
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                6
            }
            Some(escaped) => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'f' => 12,
                    other => *other,
                });
                2
            }
            None => 1,
        };
        text = text.get(at + length..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(Vec<u8>, Channel, bool)> {
        let entry = Entry::parse(line.as_bytes())?;
        let mut text = Vec::new();
        entry.text.append_to(&mut text);
        Some((text, entry.channel, matches!(entry.text, Text::Escaped(_))))
    }

    #[test]
    fn a_line_as_the_shim_writes_it_needs_no_parser() {
        let line = r#"{"log":"a\u003cb\u003e \"q\" \\ \u2028é\tend\n","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}"#;
        let text = "a<b> \"q\" \\ \u{2028}é\tend\n".as_bytes().to_vec();
        assert_eq!(read(line), Some((text, Channel::Stderr, true)));
    }

    #[test]
    fn another_order_further_fields_and_pairs_of_halves_are_read_too() {
        for line in [
            r#"{"time":"2026-01-02T03:04:05.6Z","stream":"stdout","log":"x"}"#,
            r#"{"log":"x","stream":"stdout","attrs":{"a":"b"},"time":"2026-01-02T03:04:05Z"}"#,
            r#"{"log":"x","stream":"stdout","time":"2026-01-02T05:04:05+02:00"}"#,
        ] {
            assert_eq!(read(line), Some((b"x".to_vec(), Channel::Stdout, false)), "{line}");
        }
        let pair = r#"{"log":"\ud83d\ude00","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(read(pair), Some(("😀".as_bytes().to_vec(), Channel::Stdout, false)));
    }

    #[test]
    fn what_is_torn_or_no_json_is_no_line() {
        let whole = r#"{"log":"ab\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#;
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None);
        }
        assert_eq!(read(r#"{"log":"\x","stream":"stdout","time":"2026-01-02T03:04:05Z"}"#), None);
        assert_eq!(read("{\"log\":\"\u{1}\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}"), None);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn both_ways_of_reading_tell_the_same() {
        bolero::check!().with_type::<(String, Vec<u8>)>().for_each(|(text, raw)| {
            let line = serde_json::json!({ "log": text, "stream": "stdout", "time": "2026-01-02T03:04:05Z" });
            let mut lines = vec![line.to_string().into_bytes(), raw.clone()];
            // Bytes of anybody's inside of what looks like ours.
            lines.push(
                [b"{\"log\":\"", &**raw, b"\",\"stream\":\"stdout\",\"time\":\"2026-01-02T03:04:05Z\"}"]
                    .concat(),
            );
            for line in lines {
                let Some(fast) = Entry::parse_ours(&line) else { continue };
                let mut ours = Vec::new();
                fast.text.append_to(&mut ours);
                let slow: Written = serde_json::from_slice(&line).expect("what we take, a parser takes");
                assert_eq!((ours.as_slice(), fast.time), (slow.log.as_bytes(), Stamp::of(slow.time)));
            }
        });
    }
}
