//! Sizes as people write them: `4GiB`, `512 MB`, `20g`.

use holm_vmm::Mebibytes;

/// The size in `text`, at least `smallest` and at most `largest`. The error is a sentence.
pub(super) fn parse_between(
    text: &str,
    smallest: Mebibytes,
    largest: Mebibytes,
) -> Result<Mebibytes, String> {
    let size = parse(text)?;
    if size < smallest || size > largest {
        return Err(format!("{text} is not between {} and {}", show(smallest), show(largest)));
    }
    Ok(size)
}

/// Units as Docker's settings take them: a bare letter and `iB` count in 1,024s, `B` alone in 1,000s.
fn parse(text: &str) -> Result<Mebibytes, String> {
    let bad = || format!("{text:?} is no size; write it like \"4GiB\"");
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(bad()),
    };
    Ok(Mebibytes(number.checked_mul(unit).ok_or_else(bad)? >> 20))
}

fn show(size: Mebibytes) -> String {
    match size.0 {
        mebibytes if mebibytes >= 1024 && mebibytes % 1024 == 0 => format!("{}GiB", mebibytes / 1024),
        mebibytes => format!("{mebibytes}MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_and_decimal_units_are_told_apart() {
        assert_eq!(parse("4GiB"), Ok(Mebibytes(4096)));
        assert_eq!(parse(" 4 g "), Ok(Mebibytes(4096)));
        assert_eq!(parse("20GB"), Ok(Mebibytes(19_073)));
    }

    #[test]
    fn what_is_no_size_is_said_to_be_none() {
        for text in ["", "4", "GiB", "-1g", "1.5g", "99999999999999999999g", "99999999999t"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
