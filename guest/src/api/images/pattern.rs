//! Patterns for image names, by the rules of Go's `path.Match`: `*` and `?` stop at a slash, `[a-z]` is a
//! range, a backslash takes the next character as it is.

/// Whether all of `text` fits. A pattern that is none fits nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    // The places in the text that the pattern read so far can have brought us to: no going back, so no
    // pattern takes longer than its length times the text's.
    let mut places = vec![false; text.len() + 1];
    places[0] = true;
    let mut rest = pattern.as_slice();
    while let Some((first, after)) = rest.split_first() {
        let mut next = vec![false; text.len() + 1];
        if *first == '*' {
            let mut open = false;
            for (place, reached) in places.iter().enumerate() {
                open |= *reached;
                next[place] |= open;
                open &= text.get(place).is_some_and(|c| *c != '/');
            }
            rest = after;
        } else {
            let Some((one, after)) = single(*first, after) else { return false };
            for (place, c) in text.iter().enumerate() {
                next[place + 1] = places[place] && one.fits(*c);
            }
            rest = after;
        }
        places = next;
    }
    places[text.len()]
}

enum One<'a> {
    Any,
    This(char),
    Class { ranges: &'a [char], negated: bool },
}

impl One<'_> {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any => c != '/',
            Self::This(this) => *this == c,
            Self::Class { ranges, negated } => in_ranges(ranges, c) != *negated,
        }
    }
}

/// The pattern of one character that begins with `first`, and what follows it.
fn single(first: char, rest: &[char]) -> Option<(One<'_>, &[char])> {
    match first {
        '?' => Some((One::Any, rest)),
        '\\' => rest.split_first().map(|(c, rest)| (One::This(*c), rest)),
        '[' => {
            let (negated, rest) = match rest.split_first() {
                Some(('^', rest)) => (true, rest),
                _ => (false, rest),
            };
            let end = rest.iter().skip(1).position(|c| *c == ']')? + 1;
            Some((One::Class { ranges: &rest[..end], negated }, &rest[end + 1..]))
        }
        c => Some((One::This(c), rest)),
    }
}

fn in_ranges(mut ranges: &[char], c: char) -> bool {
    loop {
        match ranges {
            [] => return false,
            [low, '-', high, rest @ ..] => {
                if (*low..=*high).contains(&c) {
                    return true;
                }
                ranges = rest;
            }
            [one, rest @ ..] => {
                if *one == c {
                    return true;
                }
                ranges = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes() {
        assert!(matches("alp*", "alpine"));
        assert!(matches("*", "alpine"));
        assert!(!matches("*", "team/app"));
        assert!(matches("*/app:*", "team/app:1"));
        assert!(!matches("alp*", "alp/ine"));
        assert!(matches("a?c", "abc") && !matches("a?c", "a/c"));
    }

    #[test]
    fn classes_ranges_and_escapes() {
        assert!(matches("v[0-9x]", "v7") && matches("v[0-9x]", "vx") && !matches("v[0-9x]", "vy"));
        assert!(matches("v[^0-9]", "vy") && !matches("v[^0-9]", "v7"));
        assert!(matches("a\\*", "a*") && !matches("a\\*", "ab"));
        assert!(!matches("a[", "a["));
        assert!(!matches("a\\", "a\\"));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    #[test]
    fn no_pattern_breaks_it_and_every_plain_text_fits_itself() {
        bolero::check!().with_type::<(String, String)>().for_each(|(pattern, text)| {
            matches(pattern, text);
            if !text.contains(['*', '?', '[', '\\']) {
                assert!(matches(text, text));
            }
        });
    }
}
