//! `WWW-Authenticate`: how a registry says that, and where, one has to log in (RFC 9110 §11, RFC 6750).

use std::collections::HashMap;

/// One way to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub(super) scheme: String,
    /// Names in lower case.
    pub(super) parameters: HashMap<String, String>,
}

/// Reads one header. A parameter without `=` ends what is read: what came before still counts.
pub(super) fn parse(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.is_empty() {
        return None;
    }
    let mut parameters = HashMap::new();
    while let Some((name, value)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find(',').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        parameters.insert(name, value);
        rest = after;
    }
    Some(Challenge { scheme: scheme.to_ascii_lowercase(), parameters })
}

/// The text up to the closing quote, and what follows it.
fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_may_be_quoted_and_hold_commas() {
        let challenge = parse(
            "Bearer realm=\"https://auth.example/token?a=b\",service=registry, \
             scope=\"repository:a/b:pull,push\",error=\"insufficient_scope\"",
        )
        .unwrap();
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.parameters["realm"], "https://auth.example/token?a=b");
        assert_eq!(challenge.parameters["service"], "registry");
        assert_eq!(challenge.parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(challenge.parameters["error"], "insufficient_scope");
    }

    #[test]
    fn a_scheme_may_come_alone_and_quotes_may_be_escaped_or_open() {
        assert_eq!(parse("Basic").unwrap().scheme, "basic");
        assert_eq!(parse(r#"Basic realm="a\"b""#).unwrap().parameters["realm"], "a\"b");
        assert_eq!(parse(r#"Basic realm="open"#).unwrap().parameters["realm"], "open");
        assert_eq!(parse("  "), None);
    }
}

#[cfg(test)]
mod fuzz {
    #[test]
    fn no_header_breaks_the_parser() {
        bolero::check!().with_type::<String>().for_each(|header| {
            super::parse(header);
        });
    }
}
