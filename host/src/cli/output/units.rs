//! Sizes in the words that Docker uses (its library go-units).

/// Decimal units, each a thousand of the one before.
const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
/// Binary units, each 1,024 of the one before.
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// Bytes with three digits, as in the SIZE columns: `13.3kB`.
pub(crate) fn size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// Bytes with four digits, as in progress bars: `2.746MB`.
pub(crate) fn precise_size(bytes: i64) -> String {
    scaled(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// Bytes of memory in binary units: `1.944GiB`.
pub(crate) fn binary_size(bytes: u64) -> String {
    scaled(bytes as f64, 1024.0, &BINARY, 4)
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit < units.len() - 1 {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

/// C's `%.*g` for values that show without an exponent: so many digits, no zeros at the end.
fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    if exponent >= digits as i32 {
        // Only 1000 to 1023 of a binary unit, or what rounds to 1000: Go writes these as 1.02e+03.
        return with_exponent(value, digits);
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    let text = format!("{value:.decimals$}");
    // Rounding may have added a digit: 999.9 with three digits is 1e+03.
    if text.bytes().take_while(u8::is_ascii_digit).count() > digits {
        return with_exponent(value, digits);
    }
    trim_zeros(&text).to_owned()
}

fn with_exponent(value: f64, digits: usize) -> String {
    let text = format!("{value:.*e}", digits - 1);
    match text.split_once('e') {
        Some((mantissa, exponent)) => format!("{}e+{exponent:0>2}", trim_zeros(mantissa)),
        None => text,
    }
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_dockers_digits() {
        for (bytes, three, four) in [
            (0, "0B", "0B"),
            (999, "999B", "999B"),
            (1000, "1kB", "1kB"),
            (13_256, "13.3kB", "13.26kB"),
            (2_746_000, "2.75MB", "2.746MB"),
            (77_900_000, "77.9MB", "77.9MB"),
            (999_999, "1e+03kB", "1000kB"),
            (1_500_000_000, "1.5GB", "1.5GB"),
        ] {
            assert_eq!(size(bytes), three);
            assert_eq!(precise_size(bytes), four);
        }
        assert_eq!(binary_size(25_213_890_560), "23.48GiB");
        assert_eq!(binary_size(1023 << 20), "1023MiB");
    }
}
