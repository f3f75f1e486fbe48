//! What the engine and a shim say to each other.
//!
//! The engine writes `config.json` (the OCI runtime spec) and `shim.json` ([`ShimConfig`]) into the bundle,
//! and starts `holmd shim <bundle>` with a pipe as its standard output. The shim creates the container, writes
//! one [`Created`] to that pipe, framed like a reply, and closes it. From then on it takes connections on its
//! socket:
//!
//! ```text
//!   engine                             shim
//!    │ ── Request ─────────────────────► │   a big-endian u32 length, then JSON
//!    │ ◄─────────────────────── Reply ── │   likewise; Wait is answered at the exit
//!    │                                   │
//!    │ ── Attach ──────────────────────► │
//!    │ ◄──────────────────── Attached ── │   from here bytes of stdin one way,
//!    │ ◄═══════════ stream frames ══════ │   `holm_api::stream` frames the other
//! ```
//!
//! `AttachAfterLog` is likewise, for who reads the log first: `AttachedAfter` says how far, and what the log does not
//! have yet of a line comes as the first frames.
//!
//! A connection carries requests one after the other; `Attach` is its last. The end of the engine's writing
//! direction after `Attach` closes the container's stdin where the container was created so ([`Stdin`]).
//!
//! A further process comes to the running container by `Exec`. Whoever wants its streams sends `AttachExec` on
//! another connection first, so that none of its output is lost:
//!
//! ```text
//!   engine                             shim
//!    │ ── AttachExec ──────────────────► │   like Attach
//!    │ ◄──────────────────── Attached ── │
//!    │ ── Exec ────────────────────────► │
//!    │ ◄───────────── Started, Failed ── │   it is its program, or could not become it
//!    │ ◄────────────────────── Exited ── │   after Started, on the same connection
//! ```
//!
//! At the exit the shim reads the streams to their end, writes the exit file, answers every `Wait`, and only
//! then unmounts the root and removes the cgroup: `Forget` is answered when that is done, so whoever starts
//! the container again or deletes its folders asks it first. The shim ends when it was told to forget, or ten
//! seconds after the exit if nobody did, and all attached clients have what is theirs. The exit file stays.
//! A shim that is killed takes its container with it and leaves no exit file.

use std::path::PathBuf;

use holm_api::{ContainerId, ExecId};
use serde::{Deserialize, Serialize};

/// Bytes of the largest request or reply: an `Exec` holds whatever arguments and variables a client wants.
pub const LONGEST_MESSAGE: usize = 8 << 20;

/// What a shim has to know beside the OCI spec.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ShimConfig {
    /// The container.
    pub id: ContainerId,
    /// Where the shim listens. Its folder exists.
    pub socket: PathBuf,
    /// libcontainer's state folder. Exists.
    pub runtime: PathBuf,
    /// The container's root, mounted by the shim in a mount namespace of its own, so that it goes with the shim.
    pub rootfs: Overlay,
    /// What is mounted in it beside: taken before the container is made, for `config.json` to bind.
    pub sources: Vec<Source>,
    /// Who its first process is, as the client wrote it (`name`, `uid`, `name:group`, …); empty is root. The
    /// shim resolves it, because only in the mounted root can `/etc/passwd` be read as the container has it.
    pub user: String,
    /// Groups beside the user's own (`GroupAdd`), by name or number.
    pub groups: Vec<String>,
    /// A pseudo-terminal of this size in place of pipes.
    pub terminal: Option<WindowSize>,
    /// The container's standard input.
    pub stdin: Stdin,
    /// Where output is kept; `None` keeps none.
    pub log: Option<LogFile>,
    /// Whether it may talk to the machine's host.
    pub vsock: Vsock,
    /// Where the exit status is written (temporary name, rename) before anyone is told of it.
    pub exit_file: PathBuf,
}

/// An overlayfs mount (Documentation/filesystems/overlayfs.rst).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Overlay {
    /// Read-only layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// The container's own changes.
    pub upper: PathBuf,
    /// overlayfs' scratch folder, on the same file system as `upper`.
    pub work: PathBuf,
    /// Where it is mounted: the bundle's `rootfs`.
    pub target: PathBuf,
}

/// A file or folder that the container has mounted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    /// The folder that `path` does not leave, whatever links are in it.
    pub root: PathBuf,
    /// In `root`; empty for `root` itself.
    pub path: PathBuf,
    /// What the client calls it, for messages.
    pub shown: String,
    /// Where it is in the container.
    pub destination: PathBuf,
    /// Where the shim mounts it: below the bundle's `mounts`. Made where it is missing.
    pub target: PathBuf,
    /// With what is mounted in it.
    pub recursive: bool,
    /// What becomes of mounts that are made in it later.
    pub propagation: SourcePropagation,
    /// An image's layers, the topmost first, of which the shim makes `root`; `None` where that is a folder already.
    #[serde(default)]
    pub layers: Option<Vec<PathBuf>>,
}

/// Whether mounts made later are seen on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SourcePropagation {
    /// Neither way.
    Private,
    /// They reach the container.
    Slave,
    /// Both ways, which no machine of ours does: refused in moby's words.
    Shared,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

/// What the container reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// Open for every attached client that comes (`OpenStdin`).
    Open,
    /// Closed when the first attached client ends its writing direction (`StdinOnce`).
    Once,
}

/// Sockets of the machine's own transport, AF_VSOCK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vsock {
    /// To no process of the container, whatever its seccomp profile.
    Refused,
    /// To a privileged one's.
    Allowed,
}

/// A log in Docker's `json-file` format.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LogFile {
    /// `<id>-json.log`.
    pub path: PathBuf,
    /// Bytes after which it is rotated; `None` never.
    pub max_size: Option<u64>,
    /// Files kept, the current one included; at least 1.
    pub max_files: u32,
    /// What becomes of those that were rotated away.
    pub rotated: Rotated,
}

/// What becomes of a log that was rotated away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rotated {
    /// It stays as it is.
    Plain,
    /// `<log>.<n>.gz` is made of it.
    Compressed,
}

/// A place in a log: what follows it is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// Of the file that was current; it may have been rotated away since.
    pub inode: u64,
    /// So many of its bytes.
    pub size: u64,
}

/// What a new shim says once on descriptor 3.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Created {
    /// The container is created and waits for `Start`.
    Ready {
        /// Its first process, in the machine's pid namespace.
        pid: i32,
    },
    /// It could not be; the shim has undone its steps and ends.
    Failed(Failure),
}

/// Why a container could not be created or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Decides the exit code of `run`.
    pub kind: FailureKind,
    /// What the daemon answers, word for word as Docker's does; the engine adds nothing.
    pub message: String,
}

/// What the client would do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The program is not in the image: exit code 127.
    NotFound,
    /// It is there and cannot be executed: exit code 126.
    NotExecutable,
    /// Anything else: exit code 128 in the record, 125 from `run`.
    Other,
}

/// The streams that a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// It writes.
    pub stdin: bool,
    /// It reads standard output, or the terminal.
    pub stdout: bool,
    /// It reads standard error; a terminal has none.
    pub stderr: bool,
}

/// A further process of a running container. All that is not said here is as the container's first one has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExecConfig {
    /// Made by the engine.
    pub id: ExecId,
    /// Program and arguments; at least one.
    pub args: Vec<String>,
    /// All of its variables.
    pub env: Vec<String>,
    /// Where it starts.
    pub cwd: PathBuf,
    /// As [`ShimConfig::user`].
    pub user: String,
    /// With all capabilities that there are.
    pub privileged: bool,
    /// A pseudo-terminal of this size in place of pipes.
    pub terminal: Option<WindowSize>,
    /// It has a standard input, which ends with its client's.
    pub stdin: bool,
}

/// What the engine asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Let the created container run. `Done` or `Failed`.
    Start,
    /// Send a signal to its first process, or to every process of its cgroup. `Done`, or `Failed` when it has exited.
    Signal {
        /// By number.
        signal: i32,
        /// To all of them.
        all: bool,
    },
    /// Give its terminal another size. `Done`.
    Resize(WindowSize),
    /// Its first process and whether it has exited. `State`.
    State,
    /// Answered with `Exited` when it has, at once where it already did.
    Wait,
    /// Turns the connection into streams. `Attached`.
    Attach(Streams),
    /// Turns the connection into streams that begin where the log ends. `AttachedAfter`.
    AttachAfterLog(Streams),
    /// Whether there is such a user in the container's `/etc/passwd`. `Done` or `Failed`.
    CheckUser(String),
    /// Run a further process. `Started` and later `Exited`, or `Failed`.
    Exec(Box<ExecConfig>),
    /// Turns the connection into the streams of a further process that is about to be run. `Attached`; both end
    /// where it cannot be.
    AttachExec {
        /// Which.
        id: ExecId,
        /// What of it.
        streams: Streams,
    },
    /// Give a further process' terminal another size. `Done`, or `Failed` when it does not run.
    ResizeExec {
        /// Which.
        id: ExecId,
        /// How large.
        size: WindowSize,
    },
    /// Send a signal to a further process. `Done`, or `Failed` when it does not run.
    SignalExec {
        /// Which.
        id: ExecId,
        /// By number.
        signal: i32,
    },
    /// The engine has written down the exit and wants the container's folders back. `Done` once the root is
    /// unmounted and the cgroup removed, or `Failed` when the container has not exited. The shim ends.
    Forget,
}

/// What the shim answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// As asked.
    Done,
    /// The streams begin.
    Attached,
    /// The streams begin after this; `None` where no log is kept.
    AttachedAfter(Option<LogEnd>),
    /// A further process is its program.
    Started {
        /// In the machine's pid namespace.
        pid: i32,
    },
    /// How it is.
    State {
        /// Its first process.
        pid: i32,
        /// Set once it has exited.
        exit: Option<ExitStatus>,
    },
    /// How it ended.
    Exited(ExitStatus),
    /// Not done, and why.
    Failed(Failure),
}

/// How a process ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// 0 to 255; 128 + n where signal n ended it.
    pub code: i32,
    /// The kernel killed one of the container's processes for want of memory (`memory.events`, `oom_kill`).
    pub oom_killed: bool,
    /// Nanoseconds since the Unix epoch.
    pub unix_nanos: u64,
}
