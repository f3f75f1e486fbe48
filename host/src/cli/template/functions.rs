//! The functions of Go's templates and those that Docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::Mode;
use super::printf::printf;
use super::value::{equal, json, kind, order, show, truth};

const NAMES: [&str; 27] = [
    "call", "js", "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html",
    "urlquery", "eq", "ne", "lt", "le", "gt", "ge", "json", "split", "join", "title", "lower", "upper",
    "pad", "truncate",
];

/// Whether there is a function of this name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// What a function takes in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    Anything,
    Text,
    Texts,
    Integer,
}

impl Accepts {
    pub(super) fn takes(self, value: &Value) -> bool {
        match self {
            Self::Anything => true,
            Self::Text => value.is_string(),
            Self::Texts => match value {
                Value::Null => true,
                Value::Array(list) => list.iter().all(Value::is_string),
                _ => false,
            },
            Self::Integer => value.is_i64() || value.is_u64(),
        }
    }

    /// As Go names the type.
    pub(super) fn go_type(self) -> &'static str {
        match self {
            Self::Anything => "interface {}",
            Self::Text => "string",
            Self::Texts => "[]string",
            Self::Integer => "int",
        }
    }

    /// As Go's library calls what it wants of a literal.
    pub(super) fn noun(self) -> &'static str {
        if self == Self::Integer { "integer" } else { self.go_type() }
    }
}

/// A function's parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signature {
    pub(super) fixed: &'static [Accepts],
    /// Any number of these may follow.
    pub(super) more: Option<Accepts>,
}

impl Signature {
    /// What is taken in this place, counted from 0.
    pub(super) fn accepts(&self, at: usize) -> Accepts {
        self.fixed.get(at).copied().or(self.more).unwrap_or(Accepts::Anything)
    }
}

/// The parameters of a function that exists.
pub(super) fn signature(name: &str, mode: Mode) -> Signature {
    use Accepts::{Anything, Integer, Text, Texts};

    let (fixed, more): (&[Accepts], _) = match name {
        "and" | "or" | "call" | "eq" | "index" | "slice" => (&[Anything], Some(Anything)),
        "js" | "html" | "urlquery" | "print" | "println" => (&[], Some(Anything)),
        "printf" => (&[Text], Some(Anything)),
        "ne" | "lt" | "le" | "gt" | "ge" => (&[Anything, Anything], None),
        // A header's columns are single names.
        "join" if mode == Mode::Header => (&[Text, Text], None),
        "join" => (&[Texts, Text], None),
        "split" => (&[Text, Text], None),
        "title" | "lower" | "upper" => (&[Text], None),
        "pad" => (&[Text, Integer, Integer], None),
        "truncate" => (&[Text, Integer], None),
        _ => (&[Anything], None),
    };
    Signature { fixed, more }
}

/// The function's result for arguments that fit its signature, or what it says is wrong with them. `written` is
/// how the first of them stands in the template.
pub(super) fn call(name: &str, arguments: &[Value], mode: Mode, written: &str) -> Result<Value, String> {
    if mode == Mode::Header
        && matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate")
    {
        return Ok(arguments.first().cloned().unwrap_or_default());
    }
    Ok(match (name, arguments) {
        ("not", [value]) => Value::Bool(!truth(value)),
        ("len", [value]) => len(value)?,
        ("index", _) => index(arguments)?,
        ("slice", _) => slice(arguments)?,
        ("print", _) => print(arguments).into(),
        ("println", _) => format!("{}\n", spaced(arguments)).into(),
        ("printf", [Value::String(format), rest @ ..]) => printf(format, rest).into(),
        ("html", _) => html(&plain(arguments)).into(),
        ("js", _) => js(&plain(arguments)).into(),
        ("urlquery", _) => urlquery(&plain(arguments)).into(),
        // None of our values is a function.
        ("call", [Value::Null, ..]) => return Err("call of nil".to_owned()),
        ("call", [value, ..]) => return Err(format!("non-function {written} of type {}", kind(value))),
        ("eq", _) => eq(arguments)?,
        ("ne" | "lt" | "le" | "gt" | "ge", [a, b]) => compare(name, a, b)?,
        ("json", [value]) => {
            let text = json(value);
            let thing = value.is_object() || value.is_array();
            if mode == Mode::Row && thing { escape_html(&text).into() } else { text.into() }
        }
        ("split", [Value::String(text), Value::String(separator)]) => split(text, separator),
        ("join", [list, Value::String(separator)]) => {
            let texts = list.as_array().map(Vec::as_slice).unwrap_or_default();
            texts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(separator).into()
        }
        ("title", [Value::String(text)]) => title(text).into(),
        ("lower", [Value::String(text)]) => text.to_lowercase().into(),
        ("upper", [Value::String(text)]) => text.to_uppercase().into(),
        ("pad", [Value::String(text), before, after]) => pad(text, number(before)?, number(after)?)?,
        // Go cuts bytes, and half a character shows as such.
        ("truncate", [Value::String(text), length]) => {
            let length = number(length)?.min(text.len());
            String::from_utf8_lossy(&text.as_bytes()[..length]).into_owned().into()
        }
        _ => return Err("arguments that it cannot take".to_owned()),
    })
}

fn split(text: &str, separator: &str) -> Value {
    if separator.is_empty() {
        return text.chars().map(|character| character.to_string()).collect();
    }
    text.split(separator).collect()
}

fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("value has type {}; should be string", kind(value)))
}

fn number(value: &Value) -> Result<usize, String> {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).ok_or_else(|| match value {
        Value::Number(number) => format!("index out of range: {number}"),
        other => format!("cannot index slice/array with type {}", kind(other)),
    })
}

fn len(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => Ok(text.len().into()),
        Value::Array(list) => Ok(list.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Null => Err("len of nil pointer".to_owned()),
        other => Err(format!("len of type {}", kind(other))),
    }
}

fn index(arguments: &[Value]) -> Result<Value, String> {
    let [value, keys @ ..] = arguments else { return Ok(Value::Null) };
    let mut value = value.clone();
    for key in keys {
        value = match &value {
            // A key that is not there is the element type's zero; of the types we meet, the empty text.
            Value::Object(map) => {
                let empty = if map.values().all(Value::is_string) { "".into() } else { Value::Null };
                map.get(text_of(key)?).cloned().unwrap_or(empty)
            }
            Value::Array(list) => {
                let at = number(key)?;
                list.get(at).cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            Value::String(text) => {
                let at = number(key)?;
                text.as_bytes().get(at).copied().ok_or_else(|| format!("index out of range: {at}"))?.into()
            }
            Value::Null => return Err("index of untyped nil".to_owned()),
            other => return Err(format!("can't index item of type {}", kind(other))),
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let [value, bounds @ ..] = arguments else { return Ok(Value::Null) };
    let length = number(&len(value)?)?;
    let start = bounds.first().map_or(Ok(0), number)?;
    let end = bounds.get(1).map_or(Ok(length), number)?;
    if start > end && end <= length && start <= length {
        return Err(format!("invalid slice index: {start} > {end}"));
    }
    if start > end || end > length {
        return Err(format!("index out of range: {}", if end > length { end } else { start }));
    }
    match value {
        Value::String(text) => Ok(text.get(start..end).ok_or("index inside a character")?.into()),
        Value::Array(list) => Ok(list[start..end].to_vec().into()),
        other => Err(format!("can't slice item of type {}", kind(other))),
    }
}

/// A space stands between two arguments of which neither is a text.
fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    for (at, value) in arguments.iter().enumerate() {
        if at > 0 && !value.is_string() && !arguments[at - 1].is_string() {
            text.push(' ');
        }
        text.push_str(&show(value));
    }
    text
}

fn spaced(arguments: &[Value]) -> String {
    arguments.iter().map(show).collect::<Vec<_>>().join(" ")
}

/// As the escaping functions see their arguments: nothing at all has words of its own.
fn plain(arguments: &[Value]) -> String {
    match arguments {
        [Value::Null] => "<no value>".to_owned(),
        arguments => print(arguments),
    }
}

/// As JavaScript has it inside quotes.
fn js(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(character))),
            other if other.is_control() || matches!(other, '\u{2028}' | '\u{2029}') => {
                escaped.push_str(&format!("\\u{:04X}", u32::from(other)));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

fn html(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// These occur in JSON only inside texts.
fn escape_html(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn urlquery(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

const INCOMPATIBLE: &str = "incompatible types for comparison";

/// Lists and maps can be compared with nothing but nil.
fn same(a: &Value, b: &Value) -> Result<bool, String> {
    for (side, other) in [(a, b), (b, a)] {
        if (side.is_array() || side.is_object()) && !other.is_null() {
            return Err(format!("non-comparable type {}: {}", show(side), kind(side)));
        }
    }
    equal(a, b).ok_or_else(|| INCOMPATIBLE.to_owned())
}

fn eq(arguments: &[Value]) -> Result<Value, String> {
    let [first, others @ ..] = arguments else { return Err("missing argument for comparison".to_owned()) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if same(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn compare(name: &str, a: &Value, b: &Value) -> Result<Value, String> {
    if name == "ne" {
        return Ok(Value::Bool(!same(a, b)?));
    }
    let order = order(a, b).ok_or(match (a, b) {
        (Value::Number(_), Value::String(_)) | (Value::String(_), Value::Number(_)) => INCOMPATIBLE,
        _ => "invalid type for comparison",
    })?;
    Ok(Value::Bool(match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    }))
}

/// The first letter of each word large, the rest as it is.
fn title(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut inside = false;
    for character in text.chars() {
        if inside {
            result.push(character);
        } else {
            result.extend(character.to_uppercase());
        }
        inside = character.is_alphanumeric() || character == '_' || character == '\'';
    }
    result
}

fn pad(text: &str, before: usize, after: usize) -> Result<Value, String> {
    if text.is_empty() {
        return Ok("".into());
    }
    if before.max(after) > 10_000 {
        return Err("too much padding".to_owned());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}
