//! The filter `until` of what is pruned: a moment in one of the many forms that moby reads
//! (`daemon/internal/timestamp`), or how long ago it was.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

use crate::api::error::ApiError;
use crate::api::filters::Filters;
use crate::engine::Timestamp;

/// What was made after this moment stays; `None` asks for no moment.
pub(crate) fn until(filters: &Filters, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, ApiError> {
    let mut values = filters.values("until");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(text), None) => moment(text, now)
            .map(Some)
            .ok_or_else(|| ApiError::invalid(format!("failed to parse value as time or duration: {text:?}"))),
        (Some(_), Some(_)) => Err(ApiError::invalid("more than one until filter specified")),
    }
}

fn moment(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    if let Some(ago) = duration(text).filter(|_| text != "0") {
        return now.checked_sub_signed(ago);
    }
    dated(text).or_else(|| Timestamp::parse(text).ok().map(Timestamp::time))
}

/// A date, a time with or without seconds and zone; without a zone it is UTC, as the machine's clock.
fn dated(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    for form in ["%Y-%m-%dT%H:%M%#z", "%Y-%m-%dT%H:%M:%S%.f%#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Some(time.to_utc());
        }
    }
    let bare = text.strip_suffix(['z', 'Z']).unwrap_or(text);
    for form in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(bare, form) {
            return Some(time.and_utc());
        }
    }
    if let Some((date, hour)) = bare.split_once('T') {
        let hour = hour.parse().ok().filter(|_| hour.len() == 2)?;
        return Some(NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?.and_hms_opt(hour, 0, 0)?.and_utc());
    }
    Some(NaiveDate::parse_from_str(bare, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0)?.and_utc())
}

/// Go's durations: `1h30m`, `-1.5s`, `10ms`.
fn duration(text: &str) -> Option<TimeDelta> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(TimeDelta::zero());
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos = 0_f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        nanos += number.parse::<f64>().ok()? * scale;
        rest = after;
    }
    // More than Go's 292 years is no duration there either.
    let nanos = if negative { -nanos } else { nanos };
    (nanos.abs() < 9.2e18).then(|| TimeDelta::nanoseconds(nanos as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<i64> {
        moment(text, DateTime::from_timestamp(1_000_000, 0).unwrap()).map(|moment| moment.timestamp())
    }

    #[test]
    fn a_duration_is_that_long_ago() {
        assert_eq!(seconds("1h30m"), Some(1_000_000 - 5400));
        assert_eq!(seconds("1.5s"), Some(999_998));
        assert_eq!(seconds("-10s"), Some(1_000_010));
        assert_eq!(seconds("1x"), None);
    }

    #[test]
    fn dates_and_times_are_read_in_mobys_forms() {
        for text in [
            "1970-01-02",
            "1970-01-02T00",
            "1970-01-02T00:00",
            "1970-01-02T00:00:00",
            "1970-01-02T00:00:00Z",
            "1970-01-02T02:00:00+02:00",
            "1970-01-02T02:00+02:00",
            "1970-01-02T00:00:00.000000000",
            "86400",
            "86400.5",
        ] {
            assert_eq!(seconds(text), Some(86400), "{text}");
        }
        for text in ["", "soon", "1970-13-01", "1970-01-02T1", "-"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_text_is_a_moment_or_none() {
        bolero::check!().with_type::<String>().for_each(|text| {
            let _ = moment(text, DateTime::UNIX_EPOCH);
        });
    }
}
