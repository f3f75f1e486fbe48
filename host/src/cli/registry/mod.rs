//! Commands about registries, one a file.

pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod search;

use std::io::{self, IsTerminal};

use super::credentials::VARIABLE;
use super::output::note::{Kind, note};
use super::session::{self, Session};

/// Says that the variable with logins goes before what these commands change.
fn warn_of_variable(session: &Session) {
    if session.credentials.is_given() {
        let text = format!(
            "{VARIABLE} is set and takes precedence.\nUnset {VARIABLE} to restore the CLI auth behaviour.\n"
        );
        session::warn(note(Kind::Warning, &text, io::stderr().is_terminal()).trim_end_matches('\n'));
    }
}
