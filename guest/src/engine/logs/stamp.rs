//! The time of a log's line, kept as the text it is shown as: such texts are in the order of the times they tell, so
//! that millions of them are compared and printed without a calendar.

use chrono::{DateTime, Utc};

/// `2026-01-02T03:04:05.600000000Z`: always nine digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp([u8; LENGTH]);

const LENGTH: usize = "2026-01-02T03:04:05.600000000Z".len();
/// Where each part is a digit, and what stands between.
const FORM: &[u8; LENGTH] = b"0000-00-00T00:00:00.000000000Z";

impl Stamp {
    /// Reads RFC 3339 in UTC with up to nine digits after the point, as a log has it. `None` is another form of it, or
    /// none.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.strip_suffix(b"Z")?;
        let mut stamp = *FORM;
        let room = stamp.get_mut(..digits.len()).filter(|room| room.len() == 19 || room.len() > 20)?;
        if digits.len() == LENGTH {
            return None;
        }
        room.copy_from_slice(digits);
        let fits = |(byte, form): (&u8, &u8)| match form {
            b'0' => byte.is_ascii_digit(),
            form => byte == form,
        };
        let fields = [(5, 12), (8, 31), (11, 23), (14, 59), (17, 59)];
        let within = |(at, most): (usize, u8)| {
            let value = (stamp[at].wrapping_sub(b'0')) * 10 + stamp[at + 1].wrapping_sub(b'0');
            value <= most && (most > 31 || at == 11 || value > 0)
        };
        (stamp.iter().zip(FORM).all(fits) && fields.into_iter().all(within)).then_some(Self(stamp))
    }

    /// Of a moment. Years that have not four digits are as early or as late as can be told.
    pub(super) fn of(time: DateTime<Utc>) -> Self {
        let text = time.format("%Y-%m-%dT%H:%M:%S%.9fZ").to_string();
        let early = time < DateTime::UNIX_EPOCH;
        let fallback =
            if early { b"0000-01-01T00:00:00.000000000Z" } else { b"9999-12-31T23:59:59.999999999Z" };
        Self(text.as_bytes().try_into().unwrap_or(*fallback))
    }

    /// As it is shown.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Stamp::parse(text.as_bytes()).map(|stamp| String::from_utf8(stamp.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn digits_are_filled_up_to_nine() {
        assert_eq!(shown("2026-01-02T03:04:05Z").unwrap(), "2026-01-02T03:04:05.000000000Z");
        assert_eq!(shown("2026-01-02T03:04:05.6Z").unwrap(), "2026-01-02T03:04:05.600000000Z");
        let all = "2026-12-31T23:59:59.123456789Z";
        assert_eq!(shown(all).unwrap(), all);
    }

    #[test]
    fn what_is_no_time_in_utc_is_none() {
        for text in [
            "",
            "Z",
            "2026-01-02T03:04:05",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05+02:00",
            "2026-01-02 03:04:05Z",
            "2026-13-02T03:04:05Z",
            "2026-01-00T03:04:05Z",
            "2026-01-02T24:04:05Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05.12345678xZ",
        ] {
            assert_eq!(shown(text), None, "{text}");
        }
    }

    #[test]
    fn stamps_are_in_the_order_of_their_times() {
        let at = |nanos| Stamp::of(DateTime::from_timestamp_nanos(nanos));
        assert!(at(5) < at(6) && at(999_999_999) < at(1_000_000_000));
        assert_eq!(at(5), Stamp::parse(b"1970-01-01T00:00:00.000000005Z").unwrap());
        assert!(at(0) < Stamp::of(DateTime::<Utc>::MAX_UTC) && Stamp::of(DateTime::<Utc>::MIN_UTC) < at(0));
    }
}
