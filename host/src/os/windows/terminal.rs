//! The console that a command runs in: whether there is one, its size, and raw mode.

use std::io::{self, IsTerminal};

/// Rows and columns of the console that standard output is, `None` where it is none.
pub(crate) fn size() -> Option<(u16, u16)> {
    if !io::stdout().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(columns, rows)| (rows, columns))
}

/// Columns of the console that standard input belongs to, `None` where it is none.
pub(crate) fn input_columns() -> Option<u16> {
    if !io::stdin().is_terminal() {
        return None;
    }
    crossterm::terminal::size().ok().map(|(columns, _)| columns)
}

/// While it lives, the console hands over every key as it is typed and changes no byte that is written.
pub(crate) struct RawMode(());

impl RawMode {
    /// Switches the console that standard input is; `None` where it is none.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        crossterm::terminal::enable_raw_mode()?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A console that is gone by now needs no restoring.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}
