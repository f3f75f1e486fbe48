//! A person at a terminal: types keys, changes the window's size, and waits for what should appear.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::command::bounded;

/// Longer than anything that should appear takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a terminal of its own.
pub struct Person {
    terminal: File,
    program: Child,
    seen: Vec<u8>,
    /// How much of it has been waited for.
    read: usize,
}

impl Person {
    /// Starts the program on a terminal of 30 rows and 90 columns.
    pub fn at(command: &Command) -> Result<Person> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        let name = ptsname(&terminal, Vec::new())?.into_string()?;
        let screen: OwnedFd = File::options().read(true).write(true).open(&name)?.into();
        // It has to be the terminal that Ctrl-C on it is a signal for.
        let ended = bounded(command);
        let mut program = Command::new("setsid");
        program.args(["--ctty", "--wait"]).arg(ended.get_program()).args(ended.get_args());
        for (name, value) in ended.get_envs() {
            match value {
                Some(value) => program.env(name, value),
                None => program.env_remove(name),
            };
        }
        program.env("TERM", "xterm-256color");
        let terminal = File::from(terminal);
        let person = |program| Person { terminal, program, seen: Vec::new(), read: 0 };
        let screens = (screen.try_clone()?, screen.try_clone()?);
        resized(&screen, 30, 90)?;
        let child =
            program.stdin(Stdio::from(screens.0)).stdout(Stdio::from(screens.1)).stderr(Stdio::from(screen));
        Ok(person(child.spawn().context("setsid(1) is part of every system")?))
    }

    /// Presses keys.
    pub fn types(&mut self, keys: &[u8]) -> Result<()> {
        Ok(self.terminal.write_all(keys)?)
    }

    /// Pulls at the window's corner.
    pub fn resizes(&self, rows: u16, columns: u16) -> Result<()> {
        resized(&self.terminal, rows, columns)
    }

    /// Returns once `text` has appeared, after what was waited for before.
    pub fn sees(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = String::from_utf8_lossy(&self.seen[self.read..]).into_owned();
            if let Some(at) = new.find(text) {
                self.read += at + text.len();
                return Ok(());
            }
            let more =
                self.look(deadline).with_context(|| format!("{text:?} has not appeared in {new:?}"))?;
            anyhow::ensure!(more, "the program ended before {text:?} appeared in {new:?}");
        }
    }

    /// Waits for the program's end. Returns its status and all that appeared.
    pub fn leaves(mut self) -> Result<(i32, String)> {
        let deadline = Instant::now() + PATIENCE;
        while self.look(deadline)? {}
        let status = self.program.wait()?.code().unwrap_or(-1);
        Ok((status, String::from_utf8_lossy(&self.seen).into_owned()))
    }

    /// Reads what there is; whether the program is still there.
    fn look(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec { tv_sec: left.as_secs().try_into()?, tv_nsec: left.subsec_nanos().into() };
        let mut ready = [PollFd::new(&self.terminal, PollFlags::IN)];
        anyhow::ensure!(poll(&mut ready, Some(&left))? > 0, "nothing more within {PATIENCE:?}");
        let mut buffer = [0; 4096];
        // The terminal's other side is gone when the last program on it is: Linux calls that an I/O error.
        let length = self.terminal.read(&mut buffer).unwrap_or(0);
        self.seen.extend_from_slice(&buffer[..length]);
        Ok(length > 0)
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not be.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn resized(terminal: &impl std::os::fd::AsFd, rows: u16, columns: u16) -> Result<()> {
    Ok(tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}
