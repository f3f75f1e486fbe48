//! Asking before something is lost.

use std::io::BufRead;

use super::error::CliError;
use super::session;

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
