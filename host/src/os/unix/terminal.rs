//! The terminal that a command runs in: whether there is one, its size, and raw mode, and lines that do not show.

use std::io::{self, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Rows and columns of the terminal that standard output is, `None` where it is none.
pub(crate) fn size() -> Option<(u16, u16)> {
    tcgetwinsize(io::stdout()).ok().map(|size| (size.ws_row, size.ws_col))
}

/// Columns of the terminal that standard input is, `None` where it is none.
pub(crate) fn input_columns() -> Option<u16> {
    tcgetwinsize(io::stdin()).ok().map(|size| size.ws_col)
}

/// While it lives, the terminal hands over every key as it is typed and changes no byte that is written.
pub(crate) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Switches the terminal that standard input is; `None` where it is none.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone by now needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// While it lives, the terminal shows nothing of what is typed.
pub(crate) struct Hidden {
    before: Termios,
}

impl Hidden {
    /// Switches the terminal that standard input is.
    pub(crate) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A line of standard input, typed while [`Hidden`] lives.
pub(crate) fn read_hidden_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    Ok(line)
}
