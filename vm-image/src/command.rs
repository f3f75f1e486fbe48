//! Running other programs so that their result depends on nothing but what is said here: no locale, no time
//! zone, no compiler flags and no job server of a `make` that called us.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command with an environment of its own, which holds the search path and nothing of the caller's.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    // mkfs.ext4 lives where ordinary users' search paths do not reach.
    let path = format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into()));
    command.env_clear().env("PATH", path).env("LC_ALL", "C").env("TZ", "UTC").stdin(Stdio::null());
    command
}

/// Runs to the end; an exit status other than 0 is an error that names the command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs to the end and returns what was printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", line(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The first line a program prints about its version.
pub(crate) fn version(program: &str) -> Result<String> {
    let text = output(command(program).arg("--version"))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn cannot_start(command: &Command) -> String {
    format!("cannot run `{}` (`make deps` installs what the build needs)", line(command))
}

fn line(command: &Command) -> String {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}
