//! Numbers, shares of processors and durations, as Go's library reads them.

use std::num::IntErrorKind;

/// A whole number: decimal, or in another base after `0x`, `0o`, `0b` or `0`.
pub(crate) fn integer(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let wrong = |why: &str| format!("strconv.ParseInt: parsing {text:?}: {why}");
    let size = magnitude(digits).map_err(wrong)?;
    let value = if negative { 0i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() };
    value.ok_or_else(|| wrong(OUT_OF_RANGE))
}

/// A whole number that is not negative.
fn unsigned(text: &str) -> Result<u64, String> {
    magnitude(text).map_err(|why| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

/// A whole number below 65,536.
pub(crate) fn unsigned_16(text: &str) -> Result<u16, String> {
    u16::try_from(unsigned(text)?).map_err(|_| format!("strconv.ParseUint: parsing {text:?}: {OUT_OF_RANGE}"))
}

const SYNTAX: &str = "invalid syntax";
const OUT_OF_RANGE: &str = "value out of range";

fn magnitude(digits: &str) -> Result<u64, &'static str> {
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // Rust's parser would take a second sign.
    if digits.starts_with(['+', '-']) {
        return Err(SYNTAX);
    }
    u64::from_str_radix(digits, radix).map_err(|error| match error.kind() {
        IntErrorKind::PosOverflow => OUT_OF_RANGE,
        _ => SYNTAX,
    })
}

/// Billionths of a processor: `1.5`, `3/2`.
pub(crate) fn cpus(text: &str) -> Result<i64, String> {
    let irrational = || format!("failed to parse {text} as a rational number");
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    let over = decimal(over).ok_or_else(irrational)?;
    let under = under.parse::<i128>().ok().filter(|under| *under > 0).ok_or_else(irrational)?;
    let nano = over * 1_000_000_000;
    let parts = FRACTION * under;
    if nano % parts != 0 {
        return Err("value is too precise".to_owned());
    }
    i64::try_from(nano / parts).map_err(|_| irrational())
}

/// Decimals after the point that are read; nobody gives more.
const DECIMALS: usize = 18;
/// What one is in their unit.
const FRACTION: i128 = 10i128.pow(DECIMALS as u32);

fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || whole.len() > 9 || part.len() > DECIMALS {
        return None;
    }
    if !all_digits(whole) || !all_digits(part) {
        return None;
    }
    let value: i128 = format!("{whole}{part:0<DECIMALS$}").parse().ok()?;
    Some(if negative { -value } else { value })
}

/// Nanoseconds of `1h2m3.5s`, `100ms`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    if let Some(nanos) = crate::cli::output::time::go_duration(text) {
        return Ok(nanos);
    }
    let number = |next: char| next.is_ascii_digit() || next == '.';
    let first = text.trim_start_matches(['-', '+']);
    let unit = first.trim_start_matches(number);
    let unit = &unit[..unit.find(number).unwrap_or(unit.len())];
    match (first.starts_with(number), unit) {
        (true, "") => Err(format!("time: missing unit in duration {text:?}")),
        (true, unit) if !["ns", "us", "µs", "μs", "ms", "s", "m", "h"].contains(&unit) => {
            Err(format!("time: unknown unit {unit:?} in duration {text:?}"))
        }
        _ => Err(format!("time: invalid duration {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_gos_bases_and_complaints() {
        assert_eq!(integer("-12"), Ok(-12));
        assert_eq!(integer("0x10"), Ok(16));
        assert_eq!(integer("010"), Ok(8));
        assert_eq!(integer("0"), Ok(0));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(integer("--1").unwrap_err(), "strconv.ParseInt: parsing \"--1\": invalid syntax");
        assert!(integer("9223372036854775808").unwrap_err().ends_with("value out of range"));
        assert_eq!(
            unsigned_16("70000").unwrap_err(),
            "strconv.ParseUint: parsing \"70000\": value out of range"
        );
    }

    #[test]
    fn processors_are_exact_fractions() {
        assert_eq!(cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(cpus("3/2"), Ok(1_500_000_000));
        assert_eq!(cpus(".25"), Ok(250_000_000));
        assert_eq!(cpus("-1"), Ok(-1_000_000_000));
        assert_eq!(cpus("0.0000000001").unwrap_err(), "value is too precise");
        assert_eq!(cpus("abc").unwrap_err(), "failed to parse abc as a rational number");
        assert!(cpus("").is_err());
        assert!(cpus("1/0").is_err());
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("500ms"), Ok(500_000_000));
        assert_eq!(duration("x").unwrap_err(), "time: invalid duration \"x\"");
        assert_eq!(duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(duration("5q").unwrap_err(), "time: unknown unit \"q\" in duration \"5q\"");
    }
}
