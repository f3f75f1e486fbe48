//! `holmd shim`: one process per container. It creates the container with libcontainer, owns its terminal or
//! pipes, its log file and its exit status, and serves them on a Unix socket, so that containers outlive the
//! engine. The engine's side is [`client`]; all other modules run in the shim.

mod attached;
pub mod bundle;
mod cgroup;
pub mod client;
pub(crate) mod compress;
mod connection;
mod create;
mod device_rules;
mod exec;
mod execute;
mod failure;
mod input;
mod leftovers;
mod log;
pub(crate) mod message;
mod output;
pub mod protocol;
pub mod reaper;
pub(crate) mod rootfs;
mod serve;
mod signal;
pub(crate) mod sources;
mod streams;
mod vsock;

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};

use log::LogWriter;
use protocol::{Created, Failure, ShimConfig, Vsock};
use serve::Server;

/// Keeps the container of this bundle until it has exited and the engine has forgotten it.
pub fn run(bundle: PathBuf) -> ExitCode {
    // Not the engine's session: what is sent to that is not for us.
    let _ = nix::unistd::setsid();
    // The container's first process inherits it, and Docker's starts with this one.
    umask(Mode::from_bits_truncate(0o022));
    // A process that is on its way into the container is a copy of this one, which nothing in there may look into.
    let hidden = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let made = match hidden {
        Ok(()) => prepare(&bundle),
        Err(error) => Err(Failure::of_creation(&format!("cannot hide the shim's memory: {error}"))),
    };
    let created = match &made {
        Ok((_, pid)) => Created::Ready { pid: *pid },
        Err(failure) => Created::Failed(failure.clone()),
    };
    if let Err(error) = say(&created) {
        tracing::error!("nobody waits for this container: {error}");
        // Ending takes the container along.
        return ExitCode::FAILURE;
    }
    let Ok((server, _)) = made else { return ExitCode::FAILURE };
    match server.serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the shim ends: {error}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(bundle: &Path) -> Result<(Server, i32), Failure> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Failure::of_creation(&format!("{what}: {error}"))
    };
    let (spec, config) = bundle::read(bundle).map_err(failed("cannot read the bundle"))?;
    let signals = block_signals().map_err(failed("cannot take signals"))?;
    let listener = listen(&config).map_err(failed("cannot listen"))?;
    let log = config.log.clone().map(LogWriter::open).transpose().map_err(failed("cannot open the log"))?;
    let own_score = fs::read("/proc/self/oom_score_adj").map_err(failed("cannot read oom_score_adj"))?;
    if config.vsock == Vsock::Refused {
        vsock::refuse()?;
    }
    let container = create::create(bundle, &config, spec);
    // libcontainer gives the container its score by taking it on first.
    let restored = fs::write("/proc/self/oom_score_adj", own_score);
    let container = container.inspect_err(|_| remove_socket(&config))?;
    restored.map_err(failed("cannot restore oom_score_adj"))?;
    let pid = container.pid;
    Ok((Server::new(bundle.to_owned(), config, container, log, listener, signals), pid))
}

/// From here on they come through the descriptor; the container's first process unblocks them for its program.
fn block_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn listen(config: &ShimConfig) -> io::Result<UnixListener> {
    leftovers::absent_is_fine(fs::remove_file(&config.socket))?;
    let listener = UnixListener::bind(&config.socket)?;
    fs::set_permissions(&config.socket, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn remove_socket(config: &ShimConfig) {
    if let Err(error) = fs::remove_file(&config.socket) {
        tracing::warn!("cannot remove {}: {error}", config.socket.display());
    }
}

/// Tells the engine, which waits at the other end of standard output, and closes it.
fn say(created: &Created) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&message::encode(created))?;
    stdout.flush()?;
    let null = fs::File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null.as_fd())?)
}
