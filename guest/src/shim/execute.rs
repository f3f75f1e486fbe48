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

use super::protocol::{Failure, FailureKind};

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
        find(name, path).map(drop).map_err(|failure| {
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
        // A signal that is ignored or blocked stays so across exec; Rust ignores SIGPIPE, the shim blocks some.
        // SAFETY: no handler is installed, and this process has one thread.
        let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        let _ = SigSet::empty().thread_set_mask();
        let process = spec.process().as_ref();
        let arguments = strings(process.and_then(|p| p.args().as_ref()));
        let variables = strings(process.and_then(|p| p.env().as_ref()));
        let error = match CString::new(file.as_os_str().as_bytes()) {
            Ok(file) => execve(&file, &arguments, &variables).unwrap_err(),
            Err(_) => Errno::EINVAL,
        };
        // The container counts as started: as with runc, its own standard error is where this is told.
        let _ = writeln!(std::io::stderr(), "exec {}: {}", file.display(), words(error));
        std::process::exit(255)
    }
}

/// The program's name and the container's `PATH`.
fn program(spec: &Spec) -> Option<(&str, &str)> {
    let process = spec.process().as_ref()?;
    let name = process.args().as_ref()?.first()?;
    let variables = process.env().as_deref().unwrap_or_default();
    let path = variables.iter().rev().find_map(|variable| variable.strip_prefix("PATH="));
    Some((name, path.unwrap_or_default()))
}

fn strings(values: Option<&Vec<String>>) -> Vec<CString> {
    // A NUL can stand in neither: where one is, no program could have been given the rest.
    let cut = |value: &String| CString::new(value.split('\0').next().unwrap_or_default());
    values.into_iter().flatten().filter_map(|value| cut(value).ok()).collect()
}

/// As Go's `exec.LookPath` finds it, and with its words.
fn find(name: &str, path: &str) -> Result<PathBuf, Failure> {
    let failed = |kind, why: &str| Failure::in_container(kind, &format!("exec: {name:?}: {why}"));
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(PathBuf::from(name)),
            Err(Errno::EISDIR) => Err(failed(FailureKind::NotExecutable, words(Errno::EISDIR).as_str())),
            Err(Errno::EACCES) => Err(failed(FailureKind::NotExecutable, "permission denied")),
            Err(error) => Err(failed(FailureKind::NotFound, &format!("stat {name}: {}", words(error)))),
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
        .ok_or_else(|| failed(FailureKind::NotFound, "executable file not found in $PATH"))
}

fn executable(file: &Path) -> Result<(), Errno> {
    let stat = nix::sys::stat::stat(file)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    access(file, AccessFlags::X_OK)
}

/// An error in Go's words, which begin with a small letter.
fn words(error: Errno) -> String {
    let text = error.desc();
    let (first, rest) = text.split_at(1);
    first.to_lowercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, path: &str) -> (FailureKind, String) {
        let failure = find(name, path).unwrap_err();
        let (_, text) = failure.message.split_once("container init: ").unwrap();
        (failure.kind, text.to_owned())
    }

    #[test]
    fn a_program_is_found_as_in_a_shell() {
        assert_eq!(find("sh", "/nowhere:/bin").unwrap(), Path::new("/bin/sh"));
        assert_eq!(find("/bin/sh", "").unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn what_cannot_be_run_is_told_in_docker_s_words() {
        use FailureKind::{NotExecutable, NotFound};
        let cases = [
            ("foo", NotFound, "exec: \"foo\": executable file not found in $PATH: unknown"),
            ("/foo", NotFound, "exec: \"/foo\": stat /foo: no such file or directory: unknown"),
            ("/etc", NotExecutable, "exec: \"/etc\": is a directory: unknown: permission denied"),
            ("/etc/passwd", NotExecutable, "exec: \"/etc/passwd\": permission denied: unknown"),
            ("", NotFound, "exec: \"\": executable file not found in $PATH: unknown"),
        ];
        for (name, kind, text) in cases {
            assert_eq!(message(name, "/bin:/usr/bin"), (kind, text.to_owned()), "{name}");
        }
    }
}
