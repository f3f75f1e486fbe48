//! One line of comma-separated fields (RFC 4180, as Go's `encoding/csv` reads it): a field in double quotes
//! may hold commas, and `""` is a quote in it.

/// Fields of the form `key=value`, as flags for maps have them.
pub(crate) fn csv_pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    fields(text)?
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(format!("{field} must be formatted as key=value")),
        })
        .collect()
}

/// The fields of the first line.
pub(super) fn fields(text: &str) -> Result<Vec<String>, String> {
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err("EOF".to_owned());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => in_quotes(quoted, line)?,
            None => bare(rest, line)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// Where `rest` starts, counted in bytes from 1 as Go does.
fn column(line: &str, rest: &str) -> usize {
    line.len() - rest.len() + 1
}

type Field<'a> = (String, Option<&'a str>);

fn bare<'a>(text: &'a str, line: &str) -> Result<Field<'a>, String> {
    let (field, after) = match text.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (text, None),
    };
    if let Some(at) = field.find('"') {
        let column = column(line, text) + at;
        return Err(format!("parse error on line 1, column {column}: bare \" in non-quoted-field"));
    }
    Ok((field.to_owned(), after))
}

fn in_quotes<'a>(text: &'a str, line: &str) -> Result<Field<'a>, String> {
    let mut field = String::new();
    let mut rest = text;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            let column = line.len() + 1;
            return Err(format!(
                "parse error on line 1, column {column}: extraneous or missing \" in quoted-field"
            ));
        };
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if let Some(after) = after.strip_prefix(',') {
            return Ok((field, Some(after)));
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            let column = column(line, after) - 1;
            return Err(format!(
                "parse error on line 1, column {column}: extraneous or missing \" in quoted-field"
            ));
        }
    }
}

/// The values of a flag that takes several at once, apart by commas, and may be repeated.
pub(crate) fn csv_fields(texts: &[String]) -> Result<Vec<String>, String> {
    let mut all = Vec::with_capacity(texts.len());
    for text in texts.iter().filter(|text| !text.is_empty()) {
        all.extend(fields(text)?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_and_quotes() {
        assert_eq!(fields("a,b=c,").unwrap(), ["a", "b=c", ""]);
        assert_eq!(fields(r#""a,b","c""d",e"#).unwrap(), ["a,b", "c\"d", "e"]);
        assert_eq!(fields("a\nb").unwrap(), ["a"]);
    }

    #[test]
    fn misplaced_quotes_are_told_with_their_place() {
        assert_eq!(fields("").unwrap_err(), "EOF");
        assert_eq!(
            fields("type=\"x").unwrap_err(),
            "parse error on line 1, column 6: bare \" in non-quoted-field"
        );
        assert!(fields("\"a").unwrap_err().contains("extraneous or missing"));
        assert!(fields("\"a\"b").unwrap_err().contains("column 3: extraneous"));
    }

    mod fuzz {
        use super::*;

        #[test]
        fn quoted_fields_come_back_and_nothing_crashes() {
            bolero::check!().with_type::<Vec<String>>().for_each(|words| {
                let words: Vec<String> = words.iter().map(|word| word.replace(['\n', '\r'], "")).collect();
                let line: Vec<String> =
                    words.iter().map(|word| format!("\"{}\"", word.replace('"', "\"\""))).collect();
                if !words.is_empty() {
                    assert_eq!(fields(&line.join(",")).unwrap(), words);
                }
                let _ = fields(&words.concat());
            });
        }
    }
}
