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

/// The function's result, or what is wrong with its arguments.
pub(super) fn call(name: &str, arguments: &[Value], mode: Mode) -> Result<Value, String> {
    if mode == Mode::Header
        && matches!(name, "json" | "split" | "join" | "title" | "lower" | "upper" | "truncate")
    {
        return arguments.first().cloned().ok_or_else(|| wrong_count(name, 1, 0));
    }
    match name {
        "not" => Ok(Value::Bool(!truth(one(name, arguments)?))),
        "len" => len(one(name, arguments)?),
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(print(arguments).into()),
        "println" => Ok(format!("{}\n", spaced(arguments)).into()),
        "printf" => match arguments {
            [Value::String(format), rest @ ..] => Ok(printf(format, rest).into()),
            _ => Err("wrong type for value; expected string".to_owned()),
        },
        "html" => Ok(html(&plain(arguments)).into()),
        "js" => Ok(js(&plain(arguments)).into()),
        "urlquery" => Ok(urlquery(&plain(arguments)).into()),
        // None of our values is a function.
        "call" => match arguments.first() {
            None | Some(Value::Null) => Err("call of nil".to_owned()),
            Some(other) => Err(format!("non-function of type {}", kind(other))),
        },
        "eq" => eq(arguments),
        "ne" | "lt" | "le" | "gt" | "ge" => compare(name, arguments),
        "json" => {
            let value = one(name, arguments)?;
            let text = json(value);
            Ok(if mode == Mode::Row && (value.is_object() || value.is_array()) {
                escape_html(&text).into()
            } else {
                text.into()
            })
        }
        "split" => {
            let [text, separator] = texts(name, arguments)?;
            let parts: Vec<Value> = match separator {
                "" => text.chars().map(|character| character.to_string().into()).collect(),
                _ => text.split(separator).map(Value::from).collect(),
            };
            Ok(parts.into())
        }
        "join" => join(arguments),
        "title" => texts(name, arguments).map(|[text]| title(text).into()),
        "lower" => texts(name, arguments).map(|[text]| text.to_lowercase().into()),
        "upper" => texts(name, arguments).map(|[text]| text.to_uppercase().into()),
        "pad" => pad(arguments),
        "truncate" => truncate(arguments),
        _ => Err(format!("wrong number of args for {name}: want at least 1 got 0")),
    }
}

fn wrong_count(name: &str, want: usize, got: usize) -> String {
    format!("wrong number of args for {name}: want {want} got {got}")
}

fn one<'a>(name: &str, arguments: &'a [Value]) -> Result<&'a Value, String> {
    match arguments {
        [value] => Ok(value),
        _ => Err(wrong_count(name, 1, arguments.len())),
    }
}

fn text_of(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| format!("wrong type for value; expected string; got {}", kind(value)))
}

fn texts<'a, const N: usize>(name: &str, arguments: &'a [Value]) -> Result<[&'a str; N], String> {
    if arguments.len() != N {
        return Err(wrong_count(name, N, arguments.len()));
    }
    let mut texts = [""; N];
    for (text, value) in texts.iter_mut().zip(arguments) {
        *text = text_of(value)?;
    }
    Ok(texts)
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
    let [value, keys @ ..] = arguments else { return Err(wrong_count("index", 1, 0)) };
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
    let [value, bounds @ ..] = arguments else { return Err(wrong_count("slice", 1, 0)) };
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

fn eq(arguments: &[Value]) -> Result<Value, String> {
    let [first, others @ ..] = arguments else { return Err("missing argument for comparison".to_owned()) };
    if others.is_empty() {
        return Err("missing argument for comparison".to_owned());
    }
    for other in others {
        if equal(first, other).ok_or(INCOMPATIBLE)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn compare(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let [a, b] = arguments else { return Err(wrong_count(name, 2, arguments.len())) };
    if name == "ne" {
        return Ok(Value::Bool(!equal(a, b).ok_or(INCOMPATIBLE)?));
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

fn join(arguments: &[Value]) -> Result<Value, String> {
    let [list, separator] = arguments else { return Err(wrong_count("join", 2, arguments.len())) };
    let separator = text_of(separator)?;
    match list {
        Value::Null => Ok("".into()),
        Value::Array(list) => {
            let parts = list.iter().map(text_of).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.join(separator).into())
        }
        other => Err(format!("wrong type for value; expected []string; got {}", kind(other))),
    }
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

fn pad(arguments: &[Value]) -> Result<Value, String> {
    let [text, before, after] = arguments else { return Err(wrong_count("pad", 3, arguments.len())) };
    let (text, before, after) = (text_of(text)?, number(before)?, number(after)?);
    if text.is_empty() {
        return Ok("".into());
    }
    if before.max(after) > 10_000 {
        return Err("too much padding".to_owned());
    }
    Ok(format!("{}{text}{}", " ".repeat(before), " ".repeat(after)).into())
}

fn truncate(arguments: &[Value]) -> Result<Value, String> {
    let [text, length] = arguments else { return Err(wrong_count("truncate", 2, arguments.len())) };
    let text = text_of(text)?;
    let length = number(length)?;
    // Go cuts bytes; we never cut inside a character.
    Ok(text[..text.floor_char_boundary(length)].into())
}
