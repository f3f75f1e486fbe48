//! The console that a command runs in: whether there is one, its size, and raw mode, and lines that do not show.

use std::io::{self, IsTerminal, Read};

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

/// While it lives, the console shows nothing of what is typed.
pub(crate) struct Hidden(#[expect(dead_code, reason = "it is there to be dropped")] Option<RawMode>);

impl Hidden {
    /// Switches the console that standard input is.
    pub(crate) fn enter() -> io::Result<Self> {
        RawMode::enter().map(Self)
    }
}

/// A line of standard input, typed while [`Hidden`] lives. A raw console leaves its keys to us.
pub(crate) fn read_hidden_line() -> io::Result<String> {
    const INTERRUPT: u8 = 3;
    let mut line = Vec::new();
    for byte in io::stdin().lock().bytes() {
        match byte? {
            b'\r' | b'\n' => break,
            INTERRUPT => return Err(io::ErrorKind::Interrupted.into()),
            8 | 127 => {
                // The last letter, which may be of several bytes.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(io::Error::other)
}
