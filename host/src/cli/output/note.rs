//! Remarks beside a command's result, in the layout of Docker's: a header, and lines under its end.

/// What kind of remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Good to know.
    Info,
    /// Good to know before it hurts.
    Warning,
}

/// The remark as it is printed; in colours on a terminal.
pub(crate) fn note(kind: Kind, text: &str, terminal: bool) -> String {
    // The background and the foreground of the sign, and the word's colour.
    let (plain, sign, word, colours) = match kind {
        Kind::Info => (" Info -> ", "i", "Info → ", ["106", "30", "96"]),
        Kind::Warning => (" Warn -> ", "w", "Warn → ", ["103", "30", "93"]),
    };
    let (header, width) = match terminal {
        false => (plain.to_owned(), plain.len()),
        true => {
            let [back, fore, tint] = colours;
            let head = format!(
                "\x1b[1m\x1b[{back}m\x1b[{fore}m{sign}\x1b[0m\x1b[0m \x1b[{tint}m{word}\x1b[0m\x1b[0m"
            );
            (head, sign.chars().count() + 1 + word.chars().count())
        }
    };
    let mut printed = format!("\n{header}");
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            printed.push_str(&" ".repeat(width));
        }
        match terminal {
            true => printed.push_str(&format!("\x1b[3m{line}\x1b[0m\n")),
            false => printed.push_str(&format!("{line}\n")),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_under_the_end_of_the_header() {
        assert_eq!(note(Kind::Warning, "a\nb", false), "\n Warn -> a\n         b\n");
        let coloured = note(Kind::Info, "a", true);
        assert!(coloured.contains("Info → ") && coloured.ends_with("\x1b[3ma\x1b[0m\n"), "{coloured:?}");
    }
}
