//! Go's `printf`, for the verbs that make sense of JSON values.

use serde_json::Value;

use super::value::{json, kind, show};

/// Columns that a width or a precision may ask for.
const WIDEST: usize = 10_000;

/// A verb's flags, width and precision: `%-10.3s`.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// The formatted text. Like Go's, it has no errors: they are shown in the text.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let (spec, after) = spec(&rest[at + 1..]);
        let mut characters = after.chars();
        match characters.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match arguments.next() {
                Some(value) => text.push_str(&padded(&formatted(verb, &spec, value), &spec)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
        rest = characters.as_str();
    }
    text.push_str(rest);
    let extra: Vec<String> = arguments.map(|value| format!("{}={}", kind(value), show(value))).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

fn spec(text: &str) -> (Spec, &str) {
    let mut spec = Spec::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next() {
        match flag {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '0' => spec.zero = true,
            ' ' => spec.space = true,
            '#' => spec.sharp = true,
            _ => break,
        }
        rest = &rest[1..];
    }
    let number = |text: &str| {
        let digits = text.len() - text.trim_start_matches(|next: char| next.is_ascii_digit()).len();
        (text[..digits].parse::<usize>().unwrap_or(0).min(WIDEST), digits)
    };
    let (width, digits) = number(rest);
    spec.width = width;
    rest = &rest[digits..];
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, digits) = number(after);
        spec.precision = Some(precision);
        rest = &after[digits..];
    }
    (spec, rest)
}

fn formatted(verb: char, spec: &Spec, value: &Value) -> String {
    let wrong = || format!("%!{verb}({}={})", kind(value), show(value));
    let signed = |text: String| match (text.starts_with('-'), spec.plus, spec.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    };
    match (verb, value) {
        ('v', _) => show(value),
        ('s', Value::String(text)) => cut(text, spec.precision),
        ('s', Value::Array(_) | Value::Object(_)) => show(value),
        ('q', Value::String(text)) => json(&Value::String(cut(text, spec.precision))),
        ('t', Value::Bool(bool)) => bool.to_string(),
        ('T', _) => kind(value).to_owned(),
        ('d', Value::Number(number)) if !number.is_f64() => signed(number.to_string()),
        ('f' | 'F', Value::Number(number)) if number.is_f64() => {
            let precision = spec.precision.unwrap_or(6);
            signed(format!("{:.precision$}", number.as_f64().unwrap_or(0.0)))
        }
        ('g', Value::Number(number)) if number.is_f64() => signed(number.to_string()),
        ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('x' | 'X' | 'o' | 'b', Value::Number(number)) => match number.as_i64() {
            Some(number) => based(verb, spec.sharp, number),
            None => wrong(),
        },
        ('c', Value::Number(number)) => number
            .as_u64()
            .and_then(|code| char::from_u32(u32::try_from(code).ok()?))
            .map_or_else(wrong, String::from),
        _ => wrong(),
    }
}

fn based(verb: char, sharp: bool, number: i64) -> String {
    let size = number.unsigned_abs();
    let digits = match verb {
        'x' if sharp => format!("{size:#x}"),
        'x' => format!("{size:x}"),
        'X' if sharp => format!("0X{size:X}"),
        'X' => format!("{size:X}"),
        'o' if sharp => format!("0{size:o}"),
        'o' => format!("{size:o}"),
        _ => format!("{size:b}"),
    };
    if number < 0 { format!("-{digits}") } else { digits }
}

fn cut(text: &str, precision: Option<usize>) -> String {
    match precision {
        Some(count) => text.chars().take(count).collect(),
        None => text.to_owned(),
    }
}

fn padded(text: &str, spec: &Spec) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text.to_owned();
    }
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if spec.zero {
        // Zeros stand between the sign and the digits.
        let sign = text.len() - text.trim_start_matches(['-', '+']).len();
        return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
    }
    format!("{}{text}", " ".repeat(missing))
}
