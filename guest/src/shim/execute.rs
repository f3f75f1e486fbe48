//! The last steps of a container's first process, from inside: find the program, wait for the start, become it.
//! In libcontainer's place, because the words of its errors are not Docker's, because a program that `init` or
//! another parent ignores signals for must not inherit that, and because the container has to die with its shim.
#![expect(unsafe_code, reason = "signal(2) has no safe wrapper")]

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{AccessFlags, access, execve};
use oci_spec::runtime::Spec;

use super::protocol::Failure;

/// What the container's first process does last.
#[derive(Clone)]
pub(super) struct Execute {
    /// Where it says why it cannot: libcontainer passes on the outermost of its errors only.
    report: Rc<OwnedFd>,
}

impl Execute {
    pub(super) fn new(report: OwnedFd) -> Self {
        Self { report: Rc::new(report) }
    }
}

impl Executor for Execute {
    /// Runs as the container's user, in its root, before the shim is told that the container is created.
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refuse = |text: &str| ExecutorValidationError::ArgValidationError(text.to_owned());
        // Set here, because the kernel clears it when a process changes its user. A shim that died before is
        // noticed next: libcontainer has to tell it that all is ready.
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(|e| refuse(e.desc()))?;
        let (name, path) = program(spec).ok_or_else(|| refuse("no program"))?;
        find(name, path).map(drop).map_err(|error| {
            let failure = Failure::in_container(&error);
            let text = serde_json::to_vec(&failure).expect("a kind and a text");
            // Nobody is left to tell if this fails; libcontainer's own error goes another way.
            let _ = rustix::io::write(&*self.report, &text);
            refuse(&failure.message)
        })
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // `exec` passes the variables in the order of the spec, which a map has lost.
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let Some((name, path)) = program(spec) else { return Err(ExecutorError::InvalidArg) };
        let file = find(name, path).unwrap_or_else(|_| PathBuf::from(name));
        let process = spec.process().as_ref();
        let arguments = strings(process.and_then(|p| p.args().as_ref()));
        let variables = strings(process.and_then(|p| p.env().as_ref()));
        become_program(&file, &arguments, &variables)
    }
}

/// Turns this process into `file`, with the signals that a new program finds.
pub(super) fn become_program(file: &Path, arguments: &[CString], variables: &[CString]) -> ! {
    // A signal that is ignored or blocked stays so across exec: Rust ignores SIGPIPE, nohup(1) SIGHUP for a daemon on
    // `process`, and the shim blocks some.
    for ignored in Signal::iterator() {
        // SAFETY: no handler is installed, and this process has one thread. SIGKILL and SIGSTOP are refused.
        let _ = unsafe { signal(ignored, SigHandler::SigDfl) };
    }
    let _ = SigSet::empty().thread_set_mask();
    let error = match CString::new(file.as_os_str().as_bytes()) {
        Ok(file) => execve(&file, arguments, variables).unwrap_err(),
        Err(_) => Errno::EINVAL,
    };
    // The process counts as started: as with runc, its own standard error is where this is told.
    let _ = writeln!(std::io::stderr(), "exec {}: {}", file.display(), words(error));
    // SAFETY: ends this process, whatever a copy of the shim would do at its end otherwise.
    unsafe { libc::_exit(255) }
}

/// The program's name and the container's `PATH`.
fn program(spec: &Spec) -> Option<(&str, &str)> {
    let process = spec.process().as_ref()?;
    let name = process.args().as_ref()?.first()?;
    Some((name, path_of(process.env().as_deref().unwrap_or_default())))
}

/// What `PATH` is among these variables.
pub(super) fn path_of(variables: &[String]) -> &str {
    variables.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default()
}

/// Arguments or variables as exec(2) takes them.
pub(super) fn strings<'a>(values: impl IntoIterator<Item = &'a Vec<String>>) -> Vec<CString> {
    // A NUL can stand in neither: where one is, no program could have been given the rest.
    let cut = |value: &String| CString::new(value.split('\0').next().unwrap_or_default());
    values.into_iter().flatten().filter_map(|value| cut(value).ok()).collect()
}

/// As Go's `exec.LookPath` finds it, and with its words.
pub(super) fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    let failed = |why: &str| format!("exec: {name:?}: {why}");
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(error @ (Errno::EISDIR | Errno::EACCES)) => Err(failed(&words(error))),
            Err(error) => Err(failed(&format!("stat {name}: {}", words(error)))),
        };
    }
    let candidates = path.split(':').map(|folder| {
        // An empty element is the current folder, as in a shell.
        let folder = if folder.is_empty() { "." } else { folder };
        Path::new(OsStr::new(folder)).join(name)
    });
    candidates
        .into_iter()
        .find(|file| executable(file).is_ok())
        .filter(|_| !name.is_empty())
        .ok_or_else(|| failed("executable file not found in $PATH"))
}

fn executable(file: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(file)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    access(file, AccessFlags::X_OK)
}

/// An error in Go's words, which begin with a small letter.
pub(super) fn words(error: Errno) -> String {
    let text = error.desc();
    let (first, rest) = text.split_at(1);
    first.to_lowercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_in_a_shell() {
        assert_eq!(find("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn what_cannot_be_run_is_told_in_docker_s_words() {
        let cases = [
            ("foo", "exec: \"foo\": executable file not found in $PATH"),
            ("/foo", "exec: \"/foo\": stat /foo: no such file or directory"),
            ("/etc", "exec: \"/etc\": is a directory"),
            ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
            ("", "exec: \"\": executable file not found in $PATH"),
        ];
        for (name, text) in cases {
            assert_eq!(find(name, "/bin:/usr/bin").unwrap_err(), text, "{name}");
        }
    }
}
