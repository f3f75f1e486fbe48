//! What the daemon says when a container cannot be created: Docker's daemon passes on what `runc` says, word
//! for word, and scripts and people search for those words. So ours are the same, though nothing of it is here.

use super::protocol::{Failure, FailureKind};

/// What Docker's daemon puts before runc's words.
const TASK: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                    runc create failed: unable to start container process: ";

/// Likewise where runc does not come as far as a process.
const RUNTIME: &str = "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: ";

/// Likewise for a further process.
const EXEC: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

impl Failure {
    /// The container's first process could not become the program: `error` is what it met.
    pub(super) fn in_container(error: &str) -> Self {
        // The client tells 126 from 125 by these words in the message (docker/cli, `runStartContainerErr`).
        let words = if error.ends_with("is a directory") { ": permission denied" } else { "" };
        let message = format!("{TASK}error during container init: {error}: unknown{words}");
        Self { kind: FailureKind::of(error), message }
    }

    /// A further process could not become its program.
    pub(super) fn of_exec(error: &str) -> Self {
        let words = if error.ends_with("is a directory") {
            ": permission denied"
        } else if error.ends_with("not a directory") {
            ": Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path \
             exists and is the expected type"
        } else {
            ""
        };
        Self { kind: FailureKind::of(error), message: format!("{EXEC}{error}: unknown{words}") }
    }

    /// The container could not be made, for a reason that runc has no words for.
    pub(super) fn of_creation(error: &str) -> Self {
        Self { kind: FailureKind::Other, message: format!("{TASK}{error}: unknown") }
    }

    /// The runtime would refuse it before it starts anything.
    pub(crate) fn of_runtime(error: &str) -> Self {
        Self { kind: FailureKind::Other, message: format!("{RUNTIME}{error}: unknown") }
    }

    /// The daemon's own words, with nothing before them.
    pub(super) fn of_daemon(error: impl ToString) -> Self {
        Self { kind: FailureKind::Other, message: error.to_string() }
    }
}

impl FailureKind {
    /// By the words, as Docker's daemon decides (moby, `setExitCodeFromError`).
    fn of(error: &str) -> Self {
        let says = |words: &[&str]| words.iter().any(|words| error.contains(words));
        if says(&["permission denied", "is a directory"]) {
            Self::NotExecutable
        } else if says(&["not a directory", "executable file not found", "no such file or directory"]) {
            Self::NotFound
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_further_process_fails_in_words_of_its_own() {
        let missing = Failure::of_exec("exec: \"x\": executable file not found in $PATH");
        assert_eq!(
            missing.message,
            "OCI runtime exec failed: exec failed: unable to start container process: \
             exec: \"x\": executable file not found in $PATH: unknown"
        );
        assert_eq!(missing.kind, FailureKind::NotFound);
        let folder = Failure::of_exec("exec: \"/etc\": is a directory");
        assert!(folder.message.ends_with("is a directory: unknown: permission denied"));
        assert_eq!(folder.kind, FailureKind::NotExecutable);
        assert_eq!(Failure::of_exec("out of memory").kind, FailureKind::Other);
    }

    #[test]
    fn a_missing_program_reads_as_docker_prints_it() {
        let error = "exec: \"foo\": executable file not found in $PATH";
        assert_eq!(
            Failure::in_container(error).message,
            "failed to create task for container: failed to create shim task: OCI runtime create failed: \
             runc create failed: unable to start container process: error during container init: \
             exec: \"foo\": executable file not found in $PATH: unknown"
        );
    }

    #[test]
    fn a_folder_is_told_as_permission_denied_as_well() {
        let message = Failure::in_container("exec: \"/etc\": is a directory").message;
        assert!(message.ends_with("exec: \"/etc\": is a directory: unknown: permission denied"), "{message}");
    }
}
