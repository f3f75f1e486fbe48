//! Points in time: how they are shown, and how users may give them.

use holm_api::human_duration;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Go's own form, in the local zone: `2026-11-22 10:00:00 +0100 CET`.
pub(crate) fn go_form(unix: i64) -> String {
    match local(unix) {
        Some(time) => time.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
        None => unix.to_string(),
    }
}

/// A time of RFC 3339 in Go's own form and its own zone: `2026-11-22 10:00:00.5 +0000 UTC`. Other texts as
/// they are.
pub(crate) fn go_time(text: &str) -> String {
    let Ok(time) = text.parse::<Timestamp>() else { return text.to_owned() };
    // A time with an offset keeps it, and has no name for its zone; the engine sends UTC.
    let zone = jiff::fmt::temporal::Pieces::parse(text).ok().and_then(|pieces| pieces.to_numeric_offset());
    match zone {
        Some(offset) if offset.seconds() != 0 => {
            let time = time.to_zoned(TimeZone::fixed(offset));
            format!("{} {}", time.strftime("%Y-%m-%d %H:%M:%S%.f"), time.strftime("%z %z"))
        }
        _ => format!("{} +0000 UTC", time.strftime("%Y-%m-%d %H:%M:%S%.f")),
    }
}

/// Seconds since 1970 of a time of RFC 3339.
pub(crate) fn seconds_of(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// RFC 3339 in the local zone, to the second: `2026-11-22T10:00:00+01:00`.
pub(crate) fn rfc3339(unix: i64) -> String {
    match local(unix) {
        Some(time) => with_offset(&time, "%Y-%m-%dT%H:%M:%S"),
        None => unix.to_string(),
    }
}

/// RFC 3339 in the local zone, with nine digits of fraction.
pub(crate) fn rfc3339_nanos(unix_nanos: i64) -> String {
    match Timestamp::from_nanosecond(unix_nanos.into()) {
        Ok(time) => with_offset(&time.to_zoned(TimeZone::system()), "%Y-%m-%dT%H:%M:%S.%9f"),
        Err(_) => unix_nanos.to_string(),
    }
}

fn local(unix: i64) -> Option<Zoned> {
    Timestamp::from_second(unix).ok().map(|time| time.to_zoned(TimeZone::system()))
}

fn with_offset(time: &Zoned, form: &str) -> String {
    let offset = match time.offset().seconds() {
        0 => "Z".to_owned(),
        _ => time.strftime("%:z").to_string(),
    };
    format!("{}{offset}", time.strftime(form))
}

/// `3 minutes ago`, counted from `now`, both in seconds since 1970.
pub(crate) fn ago(unix: i64, now: i64) -> String {
    format!("{} ago", human_duration(u64::try_from(now - unix).unwrap_or(0)))
}

/// A build time as `docker version` shows it: `Thu May  7 21:09:36 2026`; other texts as they are.
pub(crate) fn build_time(text: &str) -> String {
    match text.parse::<Timestamp>() {
        Ok(time) => time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// What is wrong with a time that a user gave.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for {flag:?}: failed to parse value as time or duration: {text:?}")]
pub(crate) struct NotATime {
    flag: &'static str,
    text: String,
}

/// The value of `--since` and `--until` in the form that the API takes, seconds since 1970 with a fraction.
/// Users may give such a number, a duration before `now_nanos` (`1h30m`), or a date with as many parts of
/// RFC 3339 as they like, in the local zone unless it names one.
pub(crate) fn timestamp(flag: &'static str, text: &str, now_nanos: i64) -> Result<String, NotATime> {
    let wrong = || NotATime { flag, text: text.to_owned() };
    if let Some(nanos) = go_duration(text) {
        return Ok(seconds(now_nanos.checked_sub(nanos).ok_or_else(wrong)?));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && !text.is_empty() {
        return Ok(text.to_owned());
    }
    date(text).map(seconds).ok_or_else(wrong)
}

fn seconds(nanos: i64) -> String {
    format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

fn date(text: &str) -> Option<i64> {
    let nanos = |time: Timestamp| i64::try_from(time.as_nanosecond()).ok();
    // Only a text with a time of day can name an offset; the hyphens of a date look like one.
    if text.contains('T')
        && let Ok(time) = text.parse::<Timestamp>()
    {
        return nanos(time);
    }
    let (text, zone) = match text.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (text, TimeZone::system()),
    };
    let time = match text.split_once('T') {
        None => text.parse::<Date>().ok()?.at(0, 0, 0, 0),
        // An hour alone, which the library wants minutes with.
        Some((_, hour)) if hour.len() == 2 => format!("{text}:00").parse::<DateTime>().ok()?,
        Some(_) => text.parse::<DateTime>().ok()?,
    };
    nanos(time.to_zoned(zone).ok()?.timestamp())
}

/// Nanoseconds of `1h2m3.5s`, in Go's grammar for durations.
pub(crate) fn go_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        let nanos = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += value * nanos;
        rest = &rest[unit..];
    }
    if total > i64::MAX as f64 { None } else { Some(sign * total as i64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_500_000_000;

    fn at(text: &str) -> String {
        timestamp("since", text, NOW).unwrap()
    }

    #[test]
    fn a_time_may_be_a_number_a_duration_or_a_date() {
        assert_eq!(at("1136073845.000000001"), "1136073845.000000001");
        assert_eq!(at("42m"), "1699997480.500000000");
        assert_eq!(at("1h0.5s"), "1699996400.000000000");
        assert_eq!(at("2013-01-02T13:23:37Z"), "1357133017.000000000");
        assert_eq!(at("2013-01-02T13:23:37.25+01:00"), "1357129417.250000000");
        assert_eq!(at("2013-01-02T13:23Z"), "1357132980.000000000");
        assert_eq!(at("2013-01-02Z"), "1357084800.000000000");
    }

    #[test]
    fn anything_else_is_named_in_dockers_words() {
        assert_eq!(
            timestamp("since", "yesterday", NOW).unwrap_err().to_string(),
            "invalid value for \"since\": failed to parse value as time or duration: \"yesterday\""
        );
        assert!(timestamp("since", "", NOW).is_err());
        assert!(timestamp("since", "5x", NOW).is_err());
    }

    #[test]
    fn a_time_of_the_engine_is_shown_as_go_shows_it() {
        assert_eq!(go_time("2026-01-02T03:04:05.5Z"), "2026-01-02 03:04:05.5 +0000 UTC");
        assert_eq!(go_time("2026-01-02T03:04:05+01:00"), "2026-01-02 03:04:05 +0100 +0100");
        assert_eq!(go_time("never"), "never");
    }

    #[test]
    fn a_build_time_is_shown_as_gos_ansi_form() {
        assert_eq!(build_time("2026-05-07T21:09:36.000000000+00:00"), "Thu May  7 21:09:36 2026");
        assert_eq!(build_time("unknown"), "unknown");
    }

    #[test]
    fn a_clock_that_runs_behind_shows_no_negative_age() {
        assert_eq!(ago(100, 50), "Less than a second ago");
        assert_eq!(ago(50, 100), "50 seconds ago");
    }
}
