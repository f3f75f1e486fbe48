//! `holmd engine`: reads what init left for it, builds the parts, serves until it is told to stop.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as BoundListener;
use std::path::PathBuf;
use std::process::ExitCode;

use holm_api::link::Configure;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Engine, EngineError};
use crate::api;
use crate::layout::Layout;
use crate::services::Services;
use crate::transport::Transport;

/// Where init put the pipe on which it waits for [`READY`].
const READY_PIPE: RawFd = 3;
const READY: &[u8] = b"ready\n";
/// Where init put the socket that containers reach the engine by.
const SOCKET: RawFd = 4;
/// Where init put the pipe that tells when all is there that the engine needs.
const GO_PIPE: RawFd = 5;

/// What init tells the engine.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// What survives a restart of the machine
    #[arg(long)]
    data: PathBuf,
    /// What does not
    #[arg(long)]
    run: PathBuf,
    /// Unix sockets in place of vsock
    #[arg(long)]
    sockets: Option<PathBuf>,
    /// Where this computer's own folders are
    #[arg(long)]
    computer: Option<PathBuf>,
}

/// Serves the Engine API until SIGTERM, then stops all containers.
pub(crate) fn run(args: EngineArgs) -> ExitCode {
    // Before anything else is opened: without init, descriptor 3 is soon something of our own.
    let (ready, inside) = (pipe(READY_PIPE, File::options().write(true)), inherited_socket());
    if !let_go() {
        // The boot failed, and init tells why.
        return ExitCode::FAILURE;
    }
    // Two threads: one may be busy with a large answer while the other one starts a container.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .thread_stack_size(1 << 20)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(serve(args, ready, inside)),
        Err(cause) => Err(EngineError::System { doing: "cannot start threads".to_owned(), cause }),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the engine ends: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(
    args: EngineArgs,
    ready: Option<File>,
    inside: io::Result<BoundListener>,
) -> Result<(), EngineError> {
    let EngineArgs { data, run, sockets, computer } = args;
    let layout = Layout::new(data, run);
    let configure = read_configure(&layout).map_err(EngineError::system("read what init left"))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(EngineError::system("wait for a signal"))?;

    let services = Services::new(Transport::new(sockets.clone()), configure.services_token.clone());
    let engine = Engine::open(layout.clone(), &configure, computer, sockets.clone(), services).await?;
    let host = Transport::new(sockets.clone())
        .listen(holm_api::port::ENGINE)
        .map_err(EngineError::system("listen to the host"))?;
    let open = Transport::new(sockets)
        .listen(holm_api::port::ENGINE_OPEN)
        .map_err(EngineError::system("listen to the host's TCP clients"))?;
    let inside = inside.and_then(UnixListener::from_std);
    let inside = inside.map_err(EngineError::system("listen in the machine"))?;
    let router = api::router(engine.clone());
    let servers = [
        tokio::spawn(api::serve_host(host, router.clone())),
        tokio::spawn(api::serve_host(open, api::open_router(engine.clone()))),
        tokio::spawn(api::serve_unix(inside, router)),
    ];
    if let Some(mut ready) = ready {
        ready.write_all(READY).map_err(EngineError::system("tell init that the engine is ready"))?;
    }

    let resuming = tokio::spawn({
        let engine = engine.clone();
        async move { engine.resume().await }
    });

    let showing = tokio::spawn({
        let engine = engine.clone();
        async move { engine.show_listeners().await }
    });

    terminate.recv().await;
    resuming.abort();
    // Clients are served while containers stop: they wait for just that.
    engine.shut_down().await;
    showing.abort();
    servers.iter().for_each(tokio::task::JoinHandle::abort);
    Ok(())
}

/// Waits for init, without a deadline: where init ends, so does the pipe. Without init there is nothing to wait for.
fn let_go() -> bool {
    let Some(mut pipe) = pipe(GO_PIPE, File::options().read(true)) else { return true };
    pipe.read(&mut [0]).is_ok_and(|read| read == 1)
}

/// A pipe that init left, opened anew, because what init left open would be inherited by every shim.
fn pipe(number: RawFd, options: &OpenOptions) -> Option<File> {
    let pipe = options.open(format!("/proc/self/fd/{number}")).ok()?;
    let is_ours = pipe.metadata().ok()?.file_type().is_fifo();
    // It is nobody's: nothing of ours was opened before this.
    is_ours.then(|| nix::unistd::close(number).ok())??;
    Some(pipe)
}

fn read_configure(layout: &Layout) -> io::Result<Configure> {
    Ok(serde_json::from_slice(&std::fs::read(layout.configure())?)?)
}

/// Opened anew as well.
fn inherited_socket() -> io::Result<BoundListener> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = BoundListener::from(pidfd_getfd(own, SOCKET, PidfdGetfdFlags::empty())?);
    nix::unistd::close(SOCKET)?;
    // Without init, something else may have the number.
    socket.local_addr()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
