//! Cuts a template into text and actions, and actions into words.

use super::TemplateError;
use super::node::Place;

/// A template's outer pieces.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// Between actions, white space already taken off where `{{-` and `-}}` ask for it.
    Text(String),
    /// What stands between `{{` and `}}`, as words.
    Action(Vec<Token>, Place),
}

/// A word of an action and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// White space stands before it: `.a .b` are two operands, `.a.b` is one.
    pub(super) spaced: bool,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// `range`, `json`, `true`
    Word(String),
    /// `.`
    Dot,
    /// `.Name`, without its dot
    Field(String),
    /// `$`, `$name`, with its dollar sign
    Variable(String),
    /// What quotes hold.
    Text(String),
    /// A number as it was written.
    Number(String),
    /// `(`, `)`, `|`, `,`, `=`
    Mark(char),
    /// `:=`
    Declare,
}

/// Cuts the whole template.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = 0;
    let mut trim_next = false;
    while let Some(open) = text[rest..].find("{{").map(|at| rest + at) {
        let mut inner = open + 2;
        let trims = text[inner..].starts_with('-')
            && text[inner + 1..].starts_with(|next: char| next.is_ascii_whitespace());
        push_text(&mut pieces, &text[rest..open], trim_next, trims);
        inner += usize::from(trims);
        let place = place(text, open + 2);
        let (tokens, close) = match comment_end(text, inner) {
            Some(end) => (None, end),
            None => {
                let (tokens, end) = action(text, inner)?;
                (Some(tokens), end)
            }
        };
        let Some(close) = close else { return Err(TemplateError::parsing(place.line, "unclosed action")) };
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action(tokens, place));
        }
        trim_next = close.trims;
        rest = close.after;
    }
    push_text(&mut pieces, &text[rest..], trim_next, false);
    Ok(pieces)
}

/// Where an action ends and whether it takes the white space after it.
struct Close {
    after: usize,
    trims: bool,
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let blank = |next: char| next.is_ascii_whitespace();
    let text = if trim_start { text.trim_start_matches(blank) } else { text };
    let text = if trim_end { text.trim_end_matches(blank) } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// `Some` where a comment starts here: its end, `None` where it has none.
fn comment_end(text: &str, inner: usize) -> Option<Option<Close>> {
    let start = text[inner..].trim_start();
    if !start.starts_with("/*") {
        return None;
    }
    let end = text[inner..].find("*/").map(|at| inner + at + 2);
    Some(end.and_then(|end| closes(text, end)))
}

/// The end of an action, if it is here: `}}`, or ` -}}`.
fn closes(text: &str, at: usize) -> Option<Close> {
    let rest = &text[at..];
    let bare = rest.trim_start_matches(|next: char| next.is_ascii_whitespace());
    let spaces = rest.len() - bare.len();
    if spaces > 0 && bare.starts_with("-}}") {
        return Some(Close { after: at + spaces + 3, trims: true });
    }
    bare.starts_with("}}").then_some(Close { after: at + spaces + 2, trims: false })
}

fn action(text: &str, mut at: usize) -> Result<(Vec<Token>, Option<Close>), TemplateError> {
    let mut tokens = Vec::new();
    loop {
        if let Some(close) = closes(text, at) {
            return Ok((tokens, Some(close)));
        }
        let start = text[at..].find(|next: char| !next.is_ascii_whitespace()).map(|skip| at + skip);
        let Some(start) = start else { return Ok((tokens, None)) };
        let (kind, length) = token(text, start)?;
        tokens.push(Token { kind, place: place(text, start), spaced: start > at });
        at = start + length;
    }
}

fn token(text: &str, at: usize) -> Result<(Kind, usize), TemplateError> {
    let rest = &text[at..];
    let wrong = |what: String| TemplateError::parsing(place(text, at).line, what);
    let word =
        |from: &str| from.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(from.len());
    let first = rest.chars().next().unwrap_or(' ');
    Ok(match first {
        '"' => {
            let length = quoted_length(rest).ok_or_else(|| wrong("unterminated quoted string".to_owned()))?;
            (Kind::Text(unquote(&rest[1..length - 1]).map_err(wrong)?), length)
        }
        '`' => {
            let end =
                rest[1..].find('`').ok_or_else(|| wrong("unterminated raw quoted string".to_owned()))?;
            (Kind::Text(rest[1..=end].to_owned()), end + 2)
        }
        '\'' => {
            let end =
                rest[1..].find('\'').ok_or_else(|| wrong("unterminated character constant".to_owned()))?;
            let character = unquote(&rest[1..=end]).map_err(&wrong)?.chars().next().unwrap_or_default();
            (Kind::Number(u32::from(character).to_string()), end + 2)
        }
        '.' if rest[1..].starts_with(|next: char| next.is_alphabetic() || next == '_') => {
            let length = word(&rest[1..]);
            (Kind::Field(rest[1..=length].to_owned()), length + 1)
        }
        '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => (Kind::Dot, 1),
        '$' => {
            let length = word(&rest[1..]) + 1;
            (Kind::Variable(rest[..length].to_owned()), length)
        }
        ':' if rest.starts_with(":=") => (Kind::Declare, 2),
        '(' | ')' | '|' | ',' | '=' => (Kind::Mark(first), 1),
        _ if first.is_ascii_digit() || matches!(first, '.' | '+' | '-') => {
            let end = rest[1..]
                .find(|next: char| !next.is_ascii_alphanumeric() && next != '.' && next != '_')
                .map_or(rest.len(), |end| end + 1);
            (Kind::Number(rest[..end].to_owned()), end)
        }
        _ if first.is_alphabetic() || first == '_' => {
            let length = word(rest);
            (Kind::Word(rest[..length].to_owned()), length)
        }
        _ => return Err(wrong(format!("unexpected {first:?} in command"))),
    })
}

/// Bytes of the string in quotes that starts here, quotes included.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            '\n' => return None,
            _ => {}
        }
    }
    None
}

/// Go's escapes.
fn unquote(text: &str) -> Result<String, String> {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            result.push(character);
            continue;
        }
        let escape = characters.next().unwrap_or('\\');
        let digits = match escape {
            'a' => {
                result.push('\x07');
                0
            }
            'b' => {
                result.push('\x08');
                0
            }
            'f' => {
                result.push('\x0c');
                0
            }
            'n' => {
                result.push('\n');
                0
            }
            'r' => {
                result.push('\r');
                0
            }
            't' => {
                result.push('\t');
                0
            }
            'v' => {
                result.push('\x0b');
                0
            }
            '\\' | '\'' | '"' => {
                result.push(escape);
                0
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(format!("bad character escape \\{escape}")),
        };
        if digits > 0 {
            let code: String = characters.by_ref().take(digits).collect();
            let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
            result.push(code.ok_or_else(|| format!("bad character escape \\{escape}"))?);
        }
    }
    Ok(result)
}

fn place(text: &str, at: usize) -> Place {
    let before = &text[..at];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place { line: before.matches('\n').count() + 1, column: at - start }
}
