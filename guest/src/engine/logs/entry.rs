//! One line of a `json-file` log: `{"log":"text\n","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use holm_api::stream::Channel;
use serde::Deserialize;

/// A line of output, or part of one that was longer than 16 KiB and has no newline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// With its newline.
    pub(super) text: Cow<'a, str>,
    /// Where it was written.
    pub(super) channel: Channel,
    /// When it was read from the container.
    pub(super) time: DateTime<Utc>,
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
        let Written { log, stream, time } = serde_json::from_slice(line).ok()?;
        let channel = if stream == "stderr" { Channel::Stderr } else { Channel::Stdout };
        Some(Self { text: log, channel, time })
    }
}
