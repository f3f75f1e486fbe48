//! What the command line gets from outside: who it is called as, its surroundings, and the few things that
//! the rest of the program does for it.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// The name that the program goes by. Called as `docker`, it is a drop-in and speaks of Docker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// As itself.
    Holm,
    /// Through a link or a copy named `docker`.
    Docker,
}

impl Program {
    /// From the first argument, which may be a path and end in `.exe`.
    pub(crate) fn called_as(argument: &std::ffi::OsStr) -> Self {
        match std::path::Path::new(argument).file_stem().and_then(|stem| stem.to_str()) {
            Some("docker") => Self::Docker,
            _ => Self::Holm,
        }
    }

    /// As it is typed.
    pub(crate) fn command(self) -> &'static str {
        match self {
            Self::Holm => "holm",
            Self::Docker => "docker",
        }
    }

    /// As it is written in a sentence.
    pub(crate) fn product(self) -> &'static str {
        match self {
            Self::Holm => "Holm",
            Self::Docker => "Docker",
        }
    }
}

/// Everything a command may depend on besides its arguments.
pub(crate) struct Environment {
    /// Where Holm keeps its files: `$HOLM_HOME`, absolute.
    pub(crate) home: PathBuf,
    /// The environment variables. `--env NAME` hands them on; `HOLM_HOST`, `DOCKER_HOST` and
    /// `DOCKER_API_VERSION` are read.
    pub(crate) variables: BTreeMap<String, String>,
    /// What the daemon's side of the program does for us.
    pub(crate) daemon: Daemon,
}

/// The daemon's side of the program, as far as the command line uses it. None of these are called from
/// inside a Tokio runtime, so they may make one.
pub(crate) struct Daemon {
    /// Returns once the socket in `$HOLM_HOME/run` answers; starts daemon and machine where they are not
    /// running. Called before the first API call of a command, unless the user named a host.
    pub(crate) ensure_running: Box<dyn Fn() -> Result<(), Failure>>,
    /// Is the daemon, in the foreground, until it is told to end.
    pub(crate) serve: Box<dyn Fn() -> ExitCode>,
    /// Does what a `holm machine` command says and returns how the machine is afterwards. `Status` never
    /// starts a daemon: where none runs it answers [`MachineState::Stopped`].
    pub(crate) machine: Box<dyn Fn(MachineOrder) -> Result<MachineReport, Failure>>,
    /// What the daemon, which has to run, works with on this computer.
    pub(crate) surroundings: Box<dyn Fn() -> Result<Surroundings, Failure>>,
    /// What containers have mounted of this computer. Nothing where no daemon runs, and none is started.
    pub(crate) shares: Box<dyn Fn() -> Result<Vec<SharedPath>, Failure>>,
}

/// Something of this computer that containers have mounted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SharedPath {
    /// On this computer.
    pub(crate) path: String,
    /// `folder`, `file`, `socket`.
    pub(crate) kind: String,
    /// What tells it from what has its path by now; `None` where nothing does.
    pub(crate) identity: Option<(u64, u64)>,
    /// Whether somebody answers for it.
    pub(crate) served: bool,
    /// Whether this computer tells of changes in it; a socket has none.
    pub(crate) watched: bool,
    /// Whether nothing may be changed.
    pub(crate) read_only: bool,
    /// Ids of those that have it mounted.
    pub(crate) containers: Vec<String>,
    /// Files and folders that the machine knows of it.
    pub(crate) nodes: u64,
    /// Files that it has open.
    pub(crate) open: u64,
    /// Requests of the machine's.
    pub(crate) requests: u64,
    /// Those about names and attributes.
    pub(crate) questions: u64,
    /// Answers to them that it may keep until something changes.
    pub(crate) kept: u64,
    /// Changes on this computer that it was told of.
    pub(crate) invalidations: u64,
    /// Bytes read.
    pub(crate) read: u64,
    /// Bytes written.
    pub(crate) written: u64,
}

/// What the daemon works with on this computer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Proxies that the machine was told of, as it sees them.
    pub(crate) proxies: Vec<String>,
    /// Bytes that are left where the machine's disk lies; `None` where the system does not say.
    pub(crate) disk_free: Option<u64>,
}

/// What `holm machine …` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineOrder {
    /// Boot it, if it is not running.
    Start,
    /// Stop its containers and power it off.
    Stop,
    /// Both, one after the other.
    Restart,
    /// Nothing but the report.
    Status,
    /// Delete its disk with all images, containers and volumes. The user has been asked.
    Reset,
}

/// Whether the machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MachineState {
    /// Powered off, or no daemon.
    Stopped,
    /// On its way up.
    Starting,
    /// Its engine answers.
    Running,
    /// On its way down.
    Stopping,
    /// Did not come up.
    Failed,
}

impl MachineState {
    /// In one word, for people and for `--format`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        }
    }
}

/// How the machine is. A text is empty where its value is not known in that state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MachineReport {
    /// Whether it runs.
    pub(crate) state: MachineState,
    /// Backend and how it accelerates: `qemu (TCG)`.
    pub(crate) hypervisor: String,
    /// `uname -r` of the guest.
    pub(crate) kernel: String,
    /// Version and short digest of the guest image.
    pub(crate) guest_image: String,
    /// Virtual processors, 0 where they are not known.
    pub(crate) cpus: u32,
    /// Bytes of memory it may use, 0 where they are not known.
    pub(crate) memory: u64,
    /// Seconds since it was ready.
    pub(crate) uptime: Option<u64>,
    /// What does not work here and why, a sentence each; where it failed, why and the last console lines.
    pub(crate) notes: Vec<String>,
}

/// Something that the daemon's side could not do.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened, its causes as `source`.
    pub(crate) error: Box<dyn Error + Send + Sync>,
    /// The next thing to type, where it is known.
    pub(crate) hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_docker_makes_a_docker() {
        assert_eq!(Program::called_as("/usr/bin/docker".as_ref()), Program::Docker);
        assert_eq!(Program::called_as("docker.exe".as_ref()), Program::Docker);
        assert_eq!(Program::called_as("docker-holm".as_ref()), Program::Holm);
        assert_eq!(Program::called_as("".as_ref()), Program::Holm);
    }
}
