//! Cuts a template into text and actions, and actions into words.
//!
//! What cannot be cut is a token, too: [`Kind::Wrong`], the last one. It is only an error once the parser gets
//! there, which may find another mistake first.

use super::node::Place;

/// A piece of the template and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// White space stands before it: `.a .b` are two operands, `.a.b` is one.
    pub(super) spaced: bool,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Between actions, white space already taken off where `{{-` and `-}}` ask for it.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `if`, `range`, `nil`
    Keyword(&'static str),
    /// `json`
    Name(String),
    /// `true`
    Boolean(bool),
    /// `.`
    Dot,
    /// `.Name`, without its dot
    Field(String),
    /// `$`, `$name`, with its dollar sign
    Variable(String),
    /// `"text"` or `` `text` ``, with its quotes.
    Quoted(String),
    /// `'a'`, with its quotes.
    Character(String),
    /// As it was written.
    Number(String),
    /// `(`, `)`, `|`, `,`, `=`, and whatever has no meaning.
    Mark(char),
    /// `:=`
    Declare,
    /// What is wrong here.
    Wrong(String),
    /// Nothing follows.
    End,
}

const KEYWORDS: [&str; 11] =
    ["block", "break", "continue", "define", "else", "end", "if", "nil", "range", "template", "with"];

impl Kind {
    /// Whether an operand of a command can begin with it.
    pub(super) fn starts_operand(&self) -> bool {
        matches!(
            self,
            Self::Boolean(_)
                | Self::Character(_)
                | Self::Dot
                | Self::Field(_)
                | Self::Name(_)
                | Self::Number(_)
                | Self::Keyword("nil")
                | Self::Quoted(_)
                | Self::Variable(_)
                | Self::Mark('(')
        )
    }

    /// As Go's library shows it in a complaint.
    pub(super) fn shown(&self) -> String {
        let quoted = |text: &str| match text.char_indices().nth(10) {
            Some((end, _)) => format!("{:?}...", &text[..end]),
            None => format!("{text:?}"),
        };
        match self {
            Self::Text(text) | Self::Name(text) | Self::Variable(text) | Self::Number(text) => quoted(text),
            Self::Quoted(text) | Self::Character(text) => quoted(text),
            Self::Open => quoted("{{"),
            Self::Close => quoted("}}"),
            Self::Keyword(word) => format!("<{word}>"),
            Self::Boolean(value) => quoted(&value.to_string()),
            Self::Dot => "<.>".to_owned(),
            Self::Field(name) => quoted(&format!(".{name}")),
            Self::Mark(mark) => quoted(&mark.to_string()),
            Self::Declare => quoted(":="),
            Self::Wrong(what) => what.clone(),
            Self::End => "EOF".to_owned(),
        }
    }
}

/// Cuts the whole template. The last token is [`Kind::End`] or [`Kind::Wrong`].
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, spaced: false, tokens: Vec::new(), line: 1, line_start: 0, seen: 0 };
    let end = match lexer.all() {
        Ok(()) => Kind::End,
        Err(what) => Kind::Wrong(what),
    };
    lexer.push(end, lexer.at);
    lexer.tokens
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    spaced: bool,
    tokens: Vec<Token>,
    line: usize,
    line_start: usize,
    /// How far lines have been counted.
    seen: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind, start: usize) {
        for (at, _) in self.text[self.seen..start].match_indices('\n') {
            self.line += 1;
            self.line_start = self.seen + at + 1;
        }
        self.seen = start;
        let place = Place { line: self.line, column: start - self.line_start };
        self.tokens.push(Token { kind, place, spaced: self.spaced });
        self.spaced = false;
    }

    fn all(&mut self) -> Result<(), String> {
        let mut trims = false;
        loop {
            let open = self.rest().find("{{").map(|at| self.at + at);
            let end = open.unwrap_or(self.text.len());
            let inner = open.map(|open| open + 2);
            let trims_before = inner.is_some_and(|inner| {
                self.text[inner..].starts_with('-') && self.text[inner + 1..].starts_with(is_space)
            });
            let mut between = &self.text[self.at..end];
            if trims {
                between = between.trim_start_matches(is_space);
            }
            if trims_before {
                between = between.trim_end_matches(is_space);
            }
            if !between.is_empty() {
                let start = self.at;
                self.push(Kind::Text(between.to_owned()), start);
            }
            let (Some(open), Some(inner)) = (open, inner) else {
                self.at = self.text.len();
                return Ok(());
            };
            self.at = inner + if trims_before { 2 } else { 0 };
            trims = if self.rest().starts_with("/*") {
                self.comment()?
            } else {
                self.push(Kind::Open, open);
                self.action()?
            };
        }
    }

    /// Whether an action ends here, and whether it takes the white space after it.
    fn closes(&self) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            return Some((2, false));
        }
        let trimmed = rest.strip_prefix(is_space).and_then(|rest| rest.strip_prefix("-}}"));
        trimmed.map(|after| (rest.len() - after.len(), true))
    }

    /// A comment has to stand alone in its action, without a space.
    fn comment(&mut self) -> Result<bool, String> {
        let end = self.rest().find("*/").ok_or("unclosed comment")?;
        self.at += end + 2;
        let (length, trims) = self.closes().ok_or("comment ends before closing delimiter")?;
        self.at += length;
        Ok(trims)
    }

    fn action(&mut self) -> Result<bool, String> {
        let mut depth = 0_usize;
        loop {
            if let Some((length, trims)) = self.closes() {
                if depth > 0 {
                    return Err("unclosed left paren".to_owned());
                }
                let start = self.at;
                self.push(Kind::Close, start);
                self.at += length;
                return Ok(trims);
            }
            let Some(first) = self.rest().chars().next() else {
                return Err("unclosed action".to_owned());
            };
            if is_space(first) {
                self.at += 1;
                self.spaced = true;
                continue;
            }
            match first {
                '(' => depth += 1,
                ')' => depth = depth.checked_sub(1).ok_or("unexpected right paren")?,
                _ => {}
            }
            let start = self.at;
            let kind = self.word(first)?;
            self.push(kind, start);
        }
    }

    fn word(&mut self, first: char) -> Result<Kind, String> {
        let rest = self.rest();
        let digit = |text: &str| text.starts_with(|next: char| next.is_ascii_digit());
        let (kind, length) = match first {
            '"' => {
                let length = quoted_length(rest, '"').ok_or("unterminated quoted string")?;
                (Kind::Quoted(rest[..length].to_owned()), length)
            }
            '`' => {
                let end = rest[1..].find('`').ok_or("unterminated raw quoted string")?;
                (Kind::Quoted(rest[..end + 2].to_owned()), end + 2)
            }
            '\'' => {
                let length = quoted_length(rest, '\'').ok_or("unterminated character constant")?;
                (Kind::Character(rest[..length].to_owned()), length)
            }
            '$' => return self.named(|name| Kind::Variable(format!("${name}"))),
            '.' if !digit(&rest[1..]) => {
                return self.named(|name| match name {
                    "" => Kind::Dot,
                    name => Kind::Field(name.to_owned()),
                });
            }
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            ':' => return Err("expected :=".to_owned()),
            '.' | '+' | '-' | '0'..='9' => return self.number(),
            _ if first.is_alphanumeric() || first == '_' => return self.identifier(),
            '!'..='~' => (Kind::Mark(first), 1),
            other => {
                return Err(format!("unrecognized character in action: {}", unicode(other)));
            }
        };
        self.at += length;
        Ok(kind)
    }

    fn named(&mut self, kind: impl Fn(&str) -> Kind) -> Result<Kind, String> {
        let name = alphanumeric(&self.rest()[1..]);
        self.at += 1 + name.len();
        self.terminated()?;
        Ok(kind(name))
    }

    fn identifier(&mut self) -> Result<Kind, String> {
        let word = alphanumeric(self.rest());
        self.at += word.len();
        self.terminated()?;
        Ok(match KEYWORDS.into_iter().find(|keyword| *keyword == word) {
            Some(keyword) => Kind::Keyword(keyword),
            None if word == "true" || word == "false" => Kind::Boolean(word == "true"),
            None => Kind::Name(word.to_owned()),
        })
    }

    /// After a word comes something that ends it.
    fn terminated(&self) -> Result<(), String> {
        match self.rest().chars().next() {
            None | Some('.' | ',' | '|' | ':' | ')' | '(') => Ok(()),
            Some(next) if is_space(next) || self.rest().starts_with("}}") => Ok(()),
            Some(next) => Err(format!("bad character {}", unicode(next))),
        }
    }

    fn number(&mut self) -> Result<Kind, String> {
        let rest = self.rest();
        let mut length = usize::from(rest.starts_with(['+', '-']));
        let lower = rest[length..].get(..2).unwrap_or_default().to_ascii_lowercase();
        let radix = match lower.as_str() {
            "0x" => 16,
            "0o" => 8,
            "0b" => 2,
            _ => 10,
        };
        length += if radix == 10 { 0 } else { 2 };
        let digits =
            |text: &str| text.find(|next: char| !next.is_digit(radix) && next != '_').unwrap_or(text.len());
        length += digits(&rest[length..]);
        if rest[length..].starts_with('.') {
            length += 1;
            length += digits(&rest[length..]);
        }
        let exponent: &[char] = if radix == 16 { &['p', 'P'] } else { &['e', 'E'] };
        if matches!(radix, 10 | 16) && rest[length..].starts_with(exponent) {
            length += 1;
            length += usize::from(rest[length..].starts_with(['+', '-']));
            let after = &rest[length..];
            length += after.find(|next: char| !next.is_ascii_digit() && next != '_').unwrap_or(after.len());
        }
        match rest[length..].chars().next() {
            Some(next) if next.is_alphanumeric() || next == '_' => {
                Err(format!("bad number syntax: {:?}", &rest[..length + next.len_utf8()]))
            }
            _ => {
                self.at += length;
                Ok(Kind::Number(rest[..length].to_owned()))
            }
        }
    }
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

fn alphanumeric(text: &str) -> &str {
    let end = text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
    &text[..end]
}

/// As Go's `%#U` has it.
fn unicode(character: char) -> String {
    let code = format!("U+{:04X}", u32::from(character));
    if character.is_control() { code } else { format!("{code} '{character}'") }
}

/// Bytes of what stands in quotes here, quotes included.
fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '\n' => return None,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What quotes hold. `None` where Go has no such escape.
pub(super) fn unquote(quoted: &str) -> Option<String> {
    let quote = quoted.chars().next()?;
    let inner = quoted.get(1..quoted.len() - 1)?;
    if quote == '`' {
        // As in Go, which reads its own sources wherever they were written.
        return Some(inner.replace('\r', ""));
    }
    let mut result = Vec::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        let mut push = |character: char| result.extend(character.encode_utf8(&mut [0; 4]).bytes());
        if character != '\\' {
            push(character);
            continue;
        }
        match characters.next()? {
            'a' => push('\x07'),
            'b' => push('\x08'),
            'f' => push('\x0c'),
            'n' => push('\n'),
            'r' => push('\r'),
            't' => push('\t'),
            'v' => push('\x0b'),
            '\\' => push('\\'),
            other @ ('\'' | '"') if other == quote => push(other),
            'x' => {
                let byte = code(&mut characters, None, 2, 16)?;
                // In a character constant it is the character itself.
                if quote == '\'' {
                    push(char::from_u32(byte)?)
                } else {
                    result.push(u8::try_from(byte).ok()?)
                }
            }
            'u' => push(char::from_u32(code(&mut characters, None, 4, 16)?)?),
            'U' => push(char::from_u32(code(&mut characters, None, 8, 16)?)?),
            digit @ '0'..='7' => {
                let byte = u8::try_from(code(&mut characters, Some(digit), 2, 8)?).ok()?;
                if quote == '\'' { push(char::from(byte)) } else { result.push(byte) }
            }
            _ => return None,
        }
    }
    // Bytes that are no text show as such, as they do on a terminal.
    Some(String::from_utf8_lossy(&result).into_owned())
}

fn code(characters: &mut std::str::Chars<'_>, first: Option<char>, count: usize, radix: u32) -> Option<u32> {
    let digits: String = first.into_iter().chain(characters.by_ref().take(count)).collect();
    let whole = digits.chars().all(|digit| digit.is_digit(radix));
    (whole && digits.len() == count + usize::from(first.is_some()))
        .then(|| u32::from_str_radix(&digits, radix).ok())
        .flatten()
}
