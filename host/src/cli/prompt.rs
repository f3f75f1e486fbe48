//! Asking: before something is lost, and for what nobody else may see.

use std::io::{self, BufRead};

use super::error::CliError;
use super::session;
use crate::os::terminal;

/// What a shell reports of a program that Ctrl-C ended: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

/// Prints the question and reads the answer from standard input. Only a `y` is one; the end of the input is not.
pub(crate) fn confirm(question: &str) -> Result<bool, CliError> {
    session::print(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|cause| CliError::Local { what: "cannot read the answer".to_owned(), cause })?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Prints the question and reads a line from the terminal.
pub(crate) async fn ask(question: &str) -> Result<String, CliError> {
    session::print(question)?;
    let reading = || {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    };
    answered(reading).await
}

/// Likewise, but what is typed does not show.
pub(crate) async fn ask_secretly(question: &str) -> Result<String, CliError> {
    // Before the question: whoever has read it may type.
    let hidden = terminal::Hidden::enter().map_err(unreadable)?;
    session::print(question)?;
    let answer = answered(terminal::read_hidden_line).await;
    drop(hidden);
    // The one that was typed did not show.
    session::print_line("")?;
    answer
}

/// Waits for a line or for Ctrl-C, after which the terminal is to be as it was.
async fn answered(read: impl FnOnce() -> io::Result<String> + Send + 'static) -> Result<String, CliError> {
    let reading = tokio::task::spawn_blocking(read);
    let line = tokio::select! {
        line = reading => line.map_err(|error| unreadable(io::Error::other(error)))?,
        _ = tokio::signal::ctrl_c() => Err(io::ErrorKind::Interrupted.into()),
    };
    match line {
        Ok(line) => Ok(line.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            session::print_line("")?;
            Err(CliError::Exit(INTERRUPTED))
        }
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(cause: io::Error) -> CliError {
    CliError::Local { what: "cannot read the answer".to_owned(), cause }
}
