//! JSON as it came, laid out anew. It is never parsed, so that numbers, escapes and the order of keys stay.

/// How Go's encoder indents.
const INDENT: &str = "    ";

/// One value a line, nested ones further in.
pub(crate) fn indented(json: &str) -> String {
    let mut laid_out = String::with_capacity(json.len() * 2);
    let mut depth = 0;
    let mut rest = json;
    let newline = |laid_out: &mut String, depth: usize| {
        laid_out.push('\n');
        laid_out.push_str(&INDENT.repeat(depth));
    };
    while let Some((token, after)) = token(rest) {
        rest = after;
        match token {
            "{" | "[" => {
                laid_out.push_str(token);
                let next = rest.trim_start();
                if let Some(after) = next.strip_prefix(['}', ']']) {
                    laid_out.push_str(&next[..1]);
                    rest = after;
                } else {
                    depth += 1;
                    newline(&mut laid_out, depth);
                }
            }
            "}" | "]" => {
                depth = depth.saturating_sub(1);
                newline(&mut laid_out, depth);
                laid_out.push_str(token);
            }
            "," => {
                laid_out.push(',');
                newline(&mut laid_out, depth);
            }
            ":" => laid_out.push_str(": "),
            other => laid_out.push_str(other),
        }
    }
    laid_out
}

/// Without white space.
pub(crate) fn compact(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((token, after)) = token(rest) {
        text.push_str(token);
        rest = after;
    }
    text
}

/// The next token: a mark, a string with its quotes, or a literal.
fn token(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let first = text.chars().next()?;
    let length = match first {
        '{' | '}' | '[' | ']' | ',' | ':' => 1,
        '"' => string_length(text),
        _ => text
            .find(|next: char| "{}[],:\"".contains(next) || next.is_ascii_whitespace())
            .unwrap_or(text.len()),
    };
    Some(text.split_at(length))
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#" {"a":[1.0,2e5,{}],"b" : "x\"{,\u003c","c":[ ],"d":{"e":null}} "#;

    #[test]
    fn values_are_indented_and_otherwise_left_alone() {
        assert_eq!(
            indented(JSON),
            "{\n    \"a\": [\n        1.0,\n        2e5,\n        {}\n    ],\n    \
             \"b\": \"x\\\"{,\\u003c\",\n    \"c\": [],\n    \"d\": {\n        \"e\": null\n    }\n}"
        );
    }

    #[test]
    fn white_space_goes_but_not_inside_texts() {
        assert_eq!(compact(r#"[ { "a b" : 1 } , "c d" ]"#), r#"[{"a b":1},"c d"]"#);
    }

    mod fuzz {
        use super::*;

        #[test]
        fn whatever_comes_is_laid_out_without_a_crash() {
            bolero::check!().with_type::<String>().for_each(|text| {
                assert_eq!(compact(&indented(text)), compact(text));
            });
        }
    }
}
