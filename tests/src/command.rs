//! Running a program to its end, as a user would, with a deadline for those that hang.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

/// Longer than anything a command waits for by itself. Seconds, for timeout(1).
const DEADLINE: &str = "240";
/// What timeout(1) answers when it had to end the program.
const TIMED_OUT: i32 = 124;

/// A command that has ended.
#[derive(Debug)]
pub struct Ran {
    /// As it was typed, for messages.
    pub line: String,
    /// Exit status, 128 + n for signal n.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// What it printed, if it succeeded.
    ///
    /// # Panics
    /// With all that is known, if it did not.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.status, 0, "{self}");
        self.stdout
    }

    /// As [`ok`](Self::ok), without the end of the line.
    #[track_caller]
    pub fn line(self) -> String {
        self.ok().trim_end().to_owned()
    }

    /// What it complained about, if it failed with this status.
    ///
    /// # Panics
    /// With all that is known, if it did not.
    #[track_caller]
    pub fn fails_with(self, status: i32) -> String {
        assert_eq!(self.status, status, "{self}");
        self.stderr
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ended with {}\n{}{}", self.line, self.status, self.stdout, self.stderr)
    }
}

/// Runs to the end and keeps what was printed.
///
/// # Panics
/// Where the program does not start, or does not end in time.
#[track_caller]
pub fn run(command: Command, input: &[u8]) -> Ran {
    let line = line(&command);
    let mut child = bounded(&command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout(1) is part of every system");
    let mut stdin = child.stdin.take().expect("asked for above");
    let input = input.to_owned();
    // Apart, since a program may print much before it reads. One that ends without reading is no fault.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("a child can be waited for");
    let _ = writer.join();
    finished(line, &output)
}

/// As [`run`], with an input that nobody writes to and that does not end before the program does, as a person's
/// keyboard.
///
/// # Panics
/// Where the program does not start, or does not end in time.
#[track_caller]
pub fn run_untouched(command: &Command) -> Ran {
    let line = line(command);
    let mut child = bounded(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout(1) is part of every system");
    let keyboard = child.stdin.take();
    let output = child.wait_with_output().expect("a child can be waited for");
    drop(keyboard);
    finished(line, &output)
}

#[track_caller]
fn finished(line: String, output: &Output) -> Ran {
    let ran = Ran {
        line,
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    };
    assert_ne!(ran.status, TIMED_OUT, "did not end: {ran}");
    ran
}

/// The same command, ended when the deadline has passed.
pub fn bounded(command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.args(["--foreground", "--kill-after=5", DEADLINE]);
    bounded.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    bounded
}

fn line(command: &Command) -> String {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
