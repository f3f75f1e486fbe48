//! One command's surroundings: the client, the names it goes by, and where its text goes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::client::Client;
use super::environment::Program;
use super::error::CliError;

/// What every command of the Engine API gets.
pub(crate) struct Session {
    /// Speaks to the daemon.
    pub(crate) client: Client,
    /// The name the user called.
    pub(crate) program: Program,
    /// The environment variables, for `--env NAME`.
    pub(crate) variables: BTreeMap<String, String>,
}

/// Writes a command's result.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(CliError::output)
}

/// Writes one line of a command's result.
pub(crate) fn print_line(text: &str) -> Result<(), CliError> {
    print(&format!("{text}\n"))
}

/// Writes one line beside a command's result. What is wrong with standard error cannot be told anywhere.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
