//! What can go wrong in a command, the exit status it gives, and the one place that prints it.
//!
//! Docker's words come first, unchanged, because scripts look for them; causes and the next step follow on
//! lines of their own.

use std::error::Error;
use std::io::{self, Write};

use super::environment::{Failure, Program};

/// Docker's status for "the daemon or the flags failed, not the container".
pub(crate) const DAEMON_FAILED: u8 = 125;
/// Docker's status for a `--format` that cannot be read.
pub(crate) const BAD_TEMPLATE: u8 = 64;
/// What a shell reports of a program that a closed pipe ended: 128 + SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Nobody listens there.
    #[error("Cannot connect to the {} daemon at {host}. Is the {} daemon running?", .program.product(), .program.command())]
    NoDaemon {
        /// Who asks.
        program: Program,
        /// As in `DOCKER_HOST`.
        host: String,
        /// Whether the user named it.
        explicit: bool,
    },
    /// Somebody listens there, but not for us.
    #[error("permission denied while trying to connect to the {} daemon socket at {host}", .program.product())]
    Denied {
        /// Who asks.
        program: Program,
        /// As in `DOCKER_HOST`.
        host: String,
        /// Whether the user named it.
        explicit: bool,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The connection broke or made no sense.
    #[error("error during connect")]
    Transport(#[source] Box<dyn Error + Send + Sync>),
    /// The daemon accepted the connection and then said nothing.
    #[error("the daemon at {host} does not answer")]
    Silent {
        /// As in `DOCKER_HOST`.
        host: String,
    },
    /// The daemon's answer to a request.
    #[error("Error response from daemon: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// Said in full by `text`.
    #[error("{text}")]
    Said {
        /// The whole message.
        text: String,
        /// Exit status.
        code: u8,
    },
    /// `run` could not get as far as a container's own exit status.
    #[error("{}: {cause}\n\nRun '{} {command} --help' for more information", .program.command(), .program.command())]
    Launch {
        /// Who asks.
        program: Program,
        /// `run` or `create`.
        command: &'static str,
        /// 125, 126 or 127.
        code: u8,
        /// Printed as part of the message, so it is no `source`.
        cause: Box<CliError>,
    },
    /// Some of several things failed, the rest are done.
    #[error("{}", joined(.0))]
    Several(Vec<CliError>),
    /// The daemon's side of this program failed.
    #[error("{}", .0.error)]
    Daemon(Failure),
    /// Nothing to say: a container's own exit status.
    #[error("")]
    Exit(u8),
    /// Nobody reads our output any more.
    #[error("")]
    OutputClosed,
    /// Output, input or a file failed.
    #[error("{what}")]
    Local {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

fn joined(errors: &[CliError]) -> String {
    errors.iter().map(CliError::to_string).collect::<Vec<_>>().join("\n")
}

impl CliError {
    /// A message that ends the command with status 1.
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self::Said { text: text.into(), code: 1 }
    }

    /// Writing our own output failed.
    pub(crate) fn output(cause: io::Error) -> Self {
        if cause.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Local { what: "cannot write the output".to_owned(), cause }
    }

    /// One error of several, `Ok` where there are none.
    pub(crate) fn all(mut errors: Vec<CliError>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several(errors)),
        }
    }

    /// Whether the daemon said that the thing does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// Whether no daemon was reached at all.
    pub(crate) fn is_no_connection(&self) -> bool {
        matches!(
            self,
            Self::NoDaemon { .. }
                | Self::Denied { .. }
                | Self::Transport(_)
                | Self::Silent { .. }
                | Self::Daemon(_)
        )
    }

    /// The program's exit status.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Said { code, .. } | Self::Launch { code, .. } | Self::Exit(code) => *code,
            Self::OutputClosed => BROKEN_PIPE,
            _ => 1,
        }
    }

    /// The next thing to do, where we know it.
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoDaemon { explicit: true, host, .. } => Some(format!(
                "{host} was set by -H, HOLM_HOST or DOCKER_HOST: correct it, or leave it out to use Holm's own machine"
            )),
            Self::NoDaemon { explicit: false, .. } => {
                Some("start it with `holm machine start`; `holm daemon` shows why it would not start".to_owned())
            }
            Self::Denied { host, explicit: true, .. } => Some(format!(
                "run this as a user who may open {host}, or leave HOLM_HOST and DOCKER_HOST unset to use your own machine"
            )),
            Self::Denied { explicit: false, .. } => Some(
                "the socket belongs to the user who started the daemon: run this as that user, or set HOLM_HOME to a folder of your own"
                    .to_owned(),
            ),
            Self::Silent { .. } => Some("restart it with `holm machine restart`".to_owned()),
            Self::Refused { status, message } => registry_hint(*status, message),
            Self::Launch { cause, .. } => cause.hint(),
            Self::Said { text, .. } => registry_hint(0, text),
            Self::Several(errors) => errors.iter().find_map(Self::hint),
            Self::Daemon(failure) => failure.hint.clone(),
            _ => None,
        }
    }

    /// Writes message, causes and hint. What is wrong with standard error itself cannot be told anywhere.
    pub(crate) fn print(&self, out: &mut dyn Write) {
        let message = self.to_string();
        if message.is_empty() {
            return;
        }
        let root: &dyn Error = match self {
            Self::Daemon(failure) => &*failure.error,
            Self::Launch { cause, .. } => &**cause,
            other => other,
        };
        let mut text = message;
        let mut cause = root.source();
        while let Some(error) = cause {
            text.push_str(": ");
            match error.downcast_ref::<io::Error>() {
                Some(error) => text.push_str(&system_words(error)),
                None => text.push_str(&error.to_string()),
            }
            cause = error.source();
        }
        text.push('\n');
        if let Some(hint) = self.hint() {
            text.push_str(&hint);
            text.push('\n');
        }
        let _ = out.write_all(text.as_bytes());
    }
}

/// What the system says of an error, in the words that Go programs show: small letters and no number.
pub(crate) fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = words.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

/// What to do about a registry that did not give an image, or a disk that did not take it, told from the
/// words of Docker's and of our engine.
fn registry_hint(status: u16, message: &str) -> Option<String> {
    let message = message.to_lowercase();
    let says = |words: &str| message.contains(words);
    let hint = if says("toomanyrequests") || says("too many requests") {
        "the registry limits how often this address may pull: wait, or add a mirror to registry-mirrors in settings.toml"
    } else if says("incorrect username or password") {
        "check the name and the password; Docker Hub takes personal access tokens in place of it"
    } else if says("pull access denied")
        || says("requested access to the resource is denied")
        || says("unauthorized")
        || says("authentication required")
        || says("no basic auth credentials")
    {
        "check the name; a private repository needs `holm login` first"
    } else if says("manifest unknown") || says("name unknown") {
        "check the name and the tag: the registry answers, but has no such image"
    } else if says("no such host") || says("dial tcp: lookup ") {
        "check the registry's name and this computer's network"
    } else if says("server gave http response to https client") {
        "if the registry is meant to be without TLS, add it to insecure-registries in settings.toml"
    } else if says("x509:") {
        "if you trust the registry, put its certificate at certs.d/<registry>/ca.crt in Holm's folder and restart the machine, or add the registry to insecure-registries in settings.toml"
    } else if says("no space left on device") {
        "remove images and containers that are not needed, or raise disk-size in settings.toml"
    } else if status >= 500 && says("connection refused") && says("/v2/") {
        "check that the registry is running and its port is right"
    } else if says("i/o timeout") && says("/v2/") {
        "check this computer's network, its proxy and its firewall"
    } else {
        return None;
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(error: &CliError) -> String {
        let mut out = Vec::new();
        error.print(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_daemon_gets_dockers_words_and_a_next_step() {
        let error = |program, explicit| CliError::NoDaemon {
            program,
            host: "unix:///x/docker.sock".to_owned(),
            explicit,
        };
        let text = printed(&error(Program::Docker, true));
        assert!(text.starts_with(
            "Cannot connect to the Docker daemon at unix:///x/docker.sock. Is the docker daemon running?\n"
        ));
        assert!(text.contains("DOCKER_HOST"));
        let text = printed(&error(Program::Holm, false));
        assert!(text.starts_with(
            "Cannot connect to the Holm daemon at unix:///x/docker.sock. Is the holm daemon running?\n"
        ));
        assert!(text.contains("holm machine start"));
    }

    #[test]
    fn a_socket_of_another_user_gets_dockers_words_the_cause_and_a_next_step() {
        let text = printed(&CliError::Denied {
            program: Program::Holm,
            host: "unix:///x".to_owned(),
            explicit: false,
            cause: io::Error::from(io::ErrorKind::PermissionDenied),
        });
        assert!(text.starts_with(
            "permission denied while trying to connect to the Holm daemon socket at unix:///x: permission denied\n"
        ));
        assert!(text.contains("HOLM_HOME"));
    }

    #[test]
    fn a_launch_failure_names_the_program_and_points_to_its_help() {
        let text = printed(&CliError::Launch {
            program: Program::Docker,
            command: "run",
            code: 125,
            cause: Box::new(CliError::Refused { status: 409, message: "Conflict.".to_owned() }),
        });
        assert_eq!(
            text,
            "docker: Error response from daemon: Conflict.\n\nRun 'docker run --help' for more information\n"
        );
    }

    #[test]
    fn an_exit_status_and_a_closed_pipe_print_nothing() {
        assert_eq!(printed(&CliError::Exit(3)), "");
        assert_eq!(CliError::Exit(3).exit_code(), 3);
        assert_eq!(printed(&CliError::OutputClosed), "");
        assert_eq!(CliError::OutputClosed.exit_code(), 141);
    }

    #[test]
    fn each_way_a_registry_fails_has_its_own_next_step() {
        let mut seen = std::collections::BTreeSet::new();
        for message in [
            "too many requests: You have reached your pull rate limit.",
            "pull access denied for x, repository does not exist or may require 'docker login'",
            "manifest for x:y not found: manifest unknown: manifest unknown",
            "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid: no such host",
            "Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client",
            "Get \"https://r/v2/\": tls: failed to verify certificate: x509: unknown authority",
            "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
            "Get \"https://10.0.0.1/v2/\": dial tcp 10.0.0.1:443: i/o timeout",
            "failed to register layer: no space left on device",
        ] {
            let error = CliError::Refused { status: 500, message: message.to_owned() };
            let text = printed(&error);
            let hint = text.lines().nth(1).unwrap_or_else(|| panic!("no hint for {message}"));
            assert!(seen.insert(hint.to_owned()), "{message} shares its hint");
        }
    }
}
