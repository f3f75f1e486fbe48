//! One command's surroundings: the client, the names it goes by, and where its text goes.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::attach::{DetachKeys, NotAKey};
use super::client::Client;
use super::credentials::Credentials;
use super::environment::Program;
use super::error::CliError;
use super::settings::Settings;

/// What every command of the Engine API gets.
pub(crate) struct Session {
    /// Speaks to the daemon.
    pub(crate) client: Client,
    /// The name the user called.
    pub(crate) program: Program,
    /// The environment variables, for `--env NAME`.
    pub(crate) variables: BTreeMap<String, String>,
    /// What the user set for all commands.
    pub(crate) settings: Settings,
    /// The logins that the user keeps.
    pub(crate) credentials: Credentials,
}

impl Session {
    /// The keys that end an attachment: as the flag says, or the settings.
    pub(crate) fn detach_keys(&self, flag: DetachKeys) -> Result<DetachKeys, CliError> {
        if flag.custom().is_some() {
            return Ok(flag);
        }
        self.settings.detach_keys.parse().map_err(|error: NotAKey| CliError::said(error.to_string()))
    }
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

/// Writes one line for whoever looks for a fault, in the form of Docker's own.
pub(crate) fn debug(line: &str) {
    warn(&format!(
        "time={:?} level=debug msg={line:?}",
        jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    ));
}

/// Writes one line beside a command's result. What is wrong with standard error cannot be told anywhere.
pub(crate) fn warn(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
