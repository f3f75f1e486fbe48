//! Sizes as people write them: `512m`, `1.5GiB`, `64 kB`. All units are powers of 1,024.

/// Bytes of a size.
pub(crate) fn bytes(text: &str) -> Result<i64, String> {
    let Some(last) = text.rfind(|next: char| next.is_ascii_digit() || next == '.' || next == ' ') else {
        return Err(format!("invalid size: '{text}'"));
    };
    let suffix = &text[last + 1..];
    let number = text[..=last].strip_suffix(' ').unwrap_or(&text[..=last]);
    let size: f64 = number
        .parse()
        .ok()
        .filter(|size: &f64| size.is_finite())
        .ok_or_else(|| format!("strconv.ParseFloat: parsing {number:?}: invalid syntax"))?;
    if size < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let unit = match suffix.to_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        // Docker shows a suffix that could have been one in small letters, and a longer one as it is.
        lower if suffix.len() <= 3 => return Err(format!("invalid suffix: '{lower}'")),
        _ => return Err(format!("invalid suffix: '{suffix}'")),
    };
    Ok((size * 1024f64.powi(unit)) as i64)
}

/// Bytes of a size, where -1 means no limit.
pub(crate) fn swap_bytes(text: &str) -> Result<i64, String> {
    if text == "-1" { Ok(-1) } else { bytes(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_however_they_are_spelled() {
        for text in ["1048576", "1024k", "1m", "1MB", "1MiB", "1 mb", "1048576b"] {
            assert_eq!(bytes(text), Ok(1 << 20), "{text}");
        }
        assert_eq!(bytes("1.5g"), Ok(3 << 29));
        assert_eq!(bytes("0"), Ok(0));
    }

    #[test]
    fn what_is_no_size_is_told_in_dockers_words() {
        assert_eq!(bytes("x").unwrap_err(), "invalid size: 'x'");
        assert_eq!(bytes("").unwrap_err(), "invalid size: ''");
        assert_eq!(bytes("5q").unwrap_err(), "invalid suffix: 'q'");
        assert_eq!(bytes("5MBps").unwrap_err(), "invalid suffix: 'MBps'");
        assert_eq!(bytes("-5m").unwrap_err(), "invalid size: '-5m'");
        assert_eq!(bytes("1.2.3").unwrap_err(), "strconv.ParseFloat: parsing \"1.2.3\": invalid syntax");
        assert_eq!(swap_bytes("-1"), Ok(-1));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn no_text_crashes_it_and_no_size_is_negative() {
            bolero::check!().with_type::<String>().for_each(|text| {
                assert!(bytes(text).is_err() || bytes(text) >= Ok(0));
            });
        }
    }
}
