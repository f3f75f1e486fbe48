//! Times as clients give them in queries: `seconds` or `seconds.nanoseconds` since the Unix epoch.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::EngineError;

/// A moment that a client named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// Reads a query's value.
    pub(crate) fn parse(text: &str) -> Result<Self, EngineError> {
        let wrong = || EngineError::Invalid(format!("failed to parse value as time: {text:?}"));
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
        let nanos = digits.parse().map_err(|_| wrong())?;
        DateTime::from_timestamp(seconds, nanos).map(Self).ok_or_else(wrong)
    }

    /// The moment.
    pub(crate) fn time(self) -> DateTime<Utc> {
        self.0
    }

    /// How long until then; nothing where it is over. A machine does not live for a century.
    pub(crate) fn distance(self) -> Duration {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        (self.0 - Utc::now()).to_std().unwrap_or_default().min(CENTURY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_filled_up_or_cut_to_nanoseconds() {
        let nanos = |text| Timestamp::parse(text).unwrap().time().timestamp_nanos_opt().unwrap();
        assert_eq!(nanos("1"), 1_000_000_000);
        assert_eq!(nanos("1.5"), 1_500_000_000);
        assert_eq!(nanos("1.000000001"), 1_000_000_001);
        assert_eq!(nanos("1.0000000019"), 1_000_000_001);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "x", "1.x", "1.-5", "9999999999999999999", "99999999999999"] {
            assert!(Timestamp::parse(text).is_err(), "{text}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn any_text_is_a_time_or_refused() {
        bolero::check!().with_type::<String>().for_each(|text| {
            if let Ok(timestamp) = Timestamp::parse(text) {
                timestamp.distance();
            }
        });
    }
}
