//! The order in which people expect names: numbers in them by their value.

use std::cmp::Ordering;

/// `a9` before `a10`.
pub(crate) fn natural(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        match (left.as_bytes().first(), right.as_bytes().first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (x, after_x) = digits(left);
                let (y, after_y) = digits(right);
                let (short, long) = (x.trim_start_matches('0'), y.trim_start_matches('0'));
                // More digits are a larger number, however many they are.
                let order = short.len().cmp(&long.len()).then(short.cmp(long));
                if order != Ordering::Equal {
                    return order;
                }
                (left, right) = (after_x, after_y);
            }
            _ => {
                let (mut x, mut y) = (left.chars(), right.chars());
                match (x.next(), y.next()) {
                    (None, None) => return a.cmp(b),
                    (x, y) if x != y => return x.cmp(&y),
                    _ => (left, right) = (x.as_str(), y.as_str()),
                }
            }
        }
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_by_their_value() {
        let mut names = ["a10", "a9", "b", "a", "80/tcp", "9/udp", "a09", "é2", "é10"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["9/udp", "80/tcp", "a", "a09", "a9", "a10", "b", "é2", "é10"]);
    }
}
