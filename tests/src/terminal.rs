//! What a person sees: a program on a pseudo-terminal, and the screen after all its cursor movements.

use std::process::Command;

use crate::command::{Ran, run_untouched};

/// Runs the command on a terminal of 100 columns, and returns with `stdout` as the screen was at the end.
#[track_caller]
pub fn run_on_terminal(command: &Command) -> Ran {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command"]);
    script.arg(format!("stty cols 100 rows 40; exec {}", quoted.join(" "))).arg("/dev/null");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.env("TERM", "xterm-256color");
    // An input that ends would be typed as a control character into whatever runs.
    let ran = run_untouched(&script);
    Ran { stdout: screen(&ran.stdout), ..ran }
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Carries out the few controls that progress displays use: carriage return, cursor up and down, erase line and
/// below. Everything else of the form `ESC [ …` changes no letters.
fn screen(output: &str) -> String {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut letters = output.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' if letters.next_if_eq(&'[').is_some() => {
                let mut parameter = String::new();
                while let Some(digit) = letters.next_if(|next| !next.is_ascii_alphabetic()) {
                    parameter.push(digit);
                }
                let count = parameter.parse().unwrap_or(1);
                match letters.next() {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('G') => column = count.saturating_sub(1),
                    Some('K') if parameter == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    _ => {}
                }
            }
            letter => {
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = letter;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    let text: Vec<String> =
        lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned()).collect();
    text.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_progress_display_leaves_its_last_state() {
        let output = "a: Waiting\r\nb: Waiting\r\n\u{1b}[2A\u{1b}[2K\ra: Done\r\u{1b}[2BEnd\r\n";
        assert_eq!(screen(output), "a: Done\nb: Waiting\nEnd\n");
    }

    #[test]
    fn colours_leave_no_trace() {
        assert_eq!(screen("\u{1b}[1;31mError\u{1b}[0m: no\r\n"), "Error: no\n");
    }

    #[test]
    fn a_program_sees_a_terminal() {
        let mut command = Command::new("sh");
        command.args(["-c", "test -t 1 && echo 'it is'; exit 3"]);
        let ran = run_on_terminal(&command);
        assert_eq!((ran.status, ran.stdout.as_str()), (3, "it is\n"));
    }
}
