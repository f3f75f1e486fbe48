//! Go's `printf`, for the verbs that make sense of JSON values.

use serde_json::Value;

use super::value::{go_float, json, kind, show};

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
    /// `[n]` names an argument that is not there.
    bad_index: bool,
}

/// The formatted text. Like Go's, it has no errors: they are shown in the text.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments = Arguments { all: arguments, next: 0, reordered: false };
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let (spec, after) = spec(&rest[at + 1..], &mut arguments);
        let mut characters = after.chars();
        match characters.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) if spec.bad_index => text.push_str(&format!("%!{verb}(BADINDEX)")),
            Some('!') => text.push_str("%!!(NOVERB)"),
            Some(verb) => match arguments.take() {
                Some(value) => text.push_str(&padded(&formatted(verb, &spec, value), &spec)),
                None => text.push_str(&format!("%!{verb}(MISSING)")),
            },
        }
        rest = characters.as_str();
    }
    text.push_str(rest);
    let extra: Vec<String> =
        arguments.left().map(|value| format!("{}={}", kind(value), show(value))).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

/// The arguments, in the order in which the format asks for them.
struct Arguments<'a> {
    all: &'a [Value],
    next: usize,
    reordered: bool,
}

impl<'a> Arguments<'a> {
    fn take(&mut self) -> Option<&'a Value> {
        let value = self.all.get(self.next)?;
        self.next += 1;
        Some(value)
    }

    /// What nobody asked for; not known where the format jumps about.
    fn left(&self) -> impl Iterator<Item = &'a Value> {
        let from = if self.reordered { self.all.len() } else { self.next.min(self.all.len()) };
        self.all[from..].iter()
    }

    /// Reads `[n]`, if it is here.
    fn index<'t>(&mut self, text: &'t str, spec: &mut Spec) -> &'t str {
        let Some((number, rest)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) else {
            return text;
        };
        self.reordered = true;
        match number.parse::<usize>() {
            Ok(number) if (1..=self.all.len()).contains(&number) => self.next = number - 1,
            _ => spec.bad_index = true,
        }
        rest
    }
}

fn spec<'t>(text: &'t str, arguments: &mut Arguments<'_>) -> (Spec, &'t str) {
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
    rest = arguments.index(rest, &mut spec);
    let (width, after) = number(rest, arguments);
    spec.width = width.unwrap_or(0);
    rest = after;
    if let Some(after) = rest.strip_prefix('.') {
        rest = arguments.index(after, &mut spec);
        let (precision, after) = number(rest, arguments);
        spec.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    (spec, arguments.index(rest, &mut Spec::default()))
}

/// Digits, or `*` for the next argument.
fn number<'t>(text: &'t str, arguments: &mut Arguments<'_>) -> (Option<usize>, &'t str) {
    if let Some(rest) = text.strip_prefix('*') {
        let value = arguments.take().and_then(Value::as_u64).and_then(|value| usize::try_from(value).ok());
        return (value.map(|value| value.min(WIDEST)), rest);
    }
    let digits = text.len() - text.trim_start_matches(|next: char| next.is_ascii_digit()).len();
    (text[..digits].parse().ok().map(|value: usize| value.min(WIDEST)), &text[digits..])
}

fn formatted(verb: char, spec: &Spec, value: &Value) -> String {
    let wrong = || format!("%!{verb}({}={})", kind(value), show(value));
    let signed = |text: String| match (text.starts_with('-'), spec.plus, spec.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    };
    match (verb, value) {
        ('v', Value::String(text)) if spec.sharp => json(&Value::String(text.clone())),
        ('v', Value::Number(number)) => signed(show(&Value::Number(number.clone()))),
        ('v', _) => show(value),
        ('s', Value::String(text)) => cut(text, spec.precision),
        ('s', Value::Array(_) | Value::Object(_)) => show(value),
        ('q', Value::String(text)) if spec.sharp && !text.contains('`') => format!("`{text}`"),
        ('q', Value::String(text)) => {
            let quoted = json(&Value::String(cut(text, spec.precision)));
            if spec.plus { ascii(&quoted) } else { quoted }
        }
        ('q', Value::Array(list)) => {
            let items: Vec<String> = list.iter().map(|item| formatted(verb, spec, item)).collect();
            format!("[{}]", items.join(" "))
        }
        ('q', Value::Number(number)) => {
            character(number).map_or_else(wrong, |character| format!("'{character}'"))
        }
        ('U', Value::Number(number)) => number.as_u64().map_or_else(wrong, |code| format!("U+{code:04X}")),
        ('t', Value::Bool(bool)) => bool.to_string(),
        ('T', _) => kind(value).to_owned(),
        ('d', Value::Number(number)) if !number.is_f64() => signed(number.to_string()),
        ('f' | 'F', Value::Number(number)) if number.is_f64() => {
            let precision = spec.precision.unwrap_or(6);
            signed(format!("{:.precision$}", number.as_f64().unwrap_or(0.0)))
        }
        ('g' | 'G', Value::Number(number)) if number.is_f64() => {
            signed(go_float(number.as_f64().unwrap_or(0.0)))
        }
        ('e' | 'E', Value::Number(number)) if number.is_f64() => {
            let precision = spec.precision.unwrap_or(6);
            let text = signed(scientific(number.as_f64().unwrap_or(0.0), precision));
            if verb == 'E' { text.to_uppercase() } else { text }
        }
        ('x' | 'X', Value::String(text)) => {
            let bytes: Vec<String> = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            let text = bytes.join(if spec.space { " " } else { "" });
            if verb == 'X' { text.to_uppercase() } else { text }
        }
        ('x' | 'X' | 'o' | 'b', Value::Number(number)) => match number.as_i64() {
            Some(number) => based(verb, spec.sharp, number),
            None => wrong(),
        },
        ('c', Value::Number(number)) => character(number).map_or_else(wrong, String::from),
        _ => wrong(),
    }
}

fn character(number: &serde_json::Number) -> Option<char> {
    char::from_u32(u32::try_from(number.as_u64()?).ok()?)
}

/// `1.500000e+00`
fn scientific(float: f64, precision: usize) -> String {
    let text = format!("{float:.precision$e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, size) = exponent.strip_prefix('-').map_or(('+', exponent), |size| ('-', size));
            format!("{digits}e{sign}{size:0>2}")
        }
        None => text,
    }
}

/// With every other character escaped.
fn ascii(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match u32::from(character) {
            0..=0x7f => escaped.push(character),
            code @ 0x80..=0xffff => escaped.push_str(&format!("\\u{code:04x}")),
            code => escaped.push_str(&format!("\\U{code:08x}")),
        }
    }
    escaped
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
