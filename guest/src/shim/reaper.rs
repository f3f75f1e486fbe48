//! `docker-init`: the small first process of containers that ask for one (`--init`). It starts the program, passes
//! signals on to it, reaps whatever ends, and ends as the program does. It is `holmd` by another name, mounted into the
//! container; its behaviour is that of tini, which Docker has in this place.
#![expect(unsafe_code, reason = "the terminal and the signal mask are set between fork and exec")]

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, tcsetpgrp};

use super::signal;

/// The name by which this is asked for.
const NAME: &str = "docker-init";

/// The program's arguments after `docker-init --`, if that is how `holmd` was called.
pub fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<OsString>> {
    let name = arguments.next()?;
    (Path::new(&name).file_name()? == NAME).then(|| arguments.skip_while(|word| word == "--").collect())
}

/// Runs the program and ends as it does.
pub fn run(words: &[OsString]) -> ExitCode {
    let Some((program, arguments)) = words.split_first() else {
        return fatal("no program to run", 1);
    };
    // What is blocked is waited for.
    let mut signals = SigSet::all();
    for own in
        [Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGABRT, Signal::SIGTRAP]
    {
        signals.remove(own);
    }
    if let Err(error) = signals.thread_block() {
        return fatal(&format!("cannot block signals: {error}"), 1);
    }
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    // SAFETY: the closure makes system calls only, which is all that is allowed between fork and exec.
    unsafe { command.pre_exec(become_program) };
    match command.spawn() {
        Ok(child) => supervise(child.id().cast_signed(), &signals),
        Err(error) => {
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let reason = error
                .raw_os_error()
                .map_or(error.to_string(), |code| Errno::from_raw(code).desc().to_owned());
            fatal(&format!("exec {} failed: {reason}", program.display()), code)
        }
    }
}

/// Makes the program's group the one that the terminal listens to, where there is a terminal, and lets signals through.
fn become_program() -> io::Result<()> {
    // While SIGTTOU is blocked: a group that is not in the foreground would be stopped for this.
    let taken = tcsetpgrp(io::stdin(), getpid());
    SigSet::empty().thread_set_mask()?;
    match taken {
        // No terminal, or none of this session's.
        Ok(()) | Err(Errno::ENOTTY | Errno::ENXIO | Errno::EBADF | Errno::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn supervise(program: i32, signals: &SigSet) -> ExitCode {
    loop {
        match signals.wait() {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(program) {
                    return ExitCode::from(code);
                }
            }
            // The program may have ended: SIGCHLD comes next.
            Ok(other) => drop(signal::send(program, other as i32)),
            // A real-time signal has no name in nix, and nobody to pass it on.
            Err(_) => {}
        }
    }
}

/// Reaps everything that has ended; the exit code of the program, if it was among that.
fn reap(program: i32) -> Option<u8> {
    let mut code = None;
    loop {
        let (pid, ended) = match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => (pid, code),
            Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as i32),
            Ok(WaitStatus::StillAlive) | Err(_) => return code,
            Ok(_) => continue,
        };
        if pid.as_raw() == program {
            code = Some(u8::try_from(ended).unwrap_or(u8::MAX));
        }
    }
}

fn fatal(message: &str, code: u8) -> ExitCode {
    eprintln!("[FATAL tini ({})] {message}", getpid());
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Option<Vec<String>> {
        let words = asked(line.split(' ').map(OsString::from))?;
        Some(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn it_is_asked_for_by_its_name_only() {
        assert_eq!(
            words("/sbin/docker-init -- sh -c -- x"),
            Some(vec!["sh".into(), "-c".into(), "--".into(), "x".into()])
        );
        assert_eq!(words("holmd shim docker-init"), None);
        assert_eq!(words("/init quiet"), None);
    }
}
