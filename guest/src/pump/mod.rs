//! `holmd pump`: one process a share. It mounts a folder of the computer's, whose files the host daemon serves:
//! requests of `/dev/fuse` go over a stream of its own to the host, and replies come back.
//!
//! ```text
//!   kernel ── /dev/fuse ──► requests ──┐
//!     ▲ ▲                              ╞══ stream, host port 1028
//!     │ └──── replies ◄────────────────┤
//!     └────── notices ◄── a queue ◄────┤   notifications wait for replies in the kernel, so not on that thread
//!                └── replays        lists ┘   and what is done on the mount waits for all of the above
//! ```
//!
//! Where host and guest have one kernel, the host takes `/dev/fuse` itself, and the stream carries announcements. A socket of the computer's is relayed instead: one stream a connection. Started by the engine, it outlives it. It
//! ends with its stream or its mount: whoever uses the mount then gets an error, and waits for nothing, because
//! `/dev/fuse` is closed with the process. For that who works on the mount has a table of descriptors without it: in
//! the middle of a request not even SIGKILL ends a thread, and a table is closed by the last who has it.

mod ahead;
mod apart;
pub(crate) mod client;
mod copy;
mod mount;
mod relay;
mod replay;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use holm_api::files::{HANDS_OVER, MOST_ANNOUNCED, MOST_LISTED, READY, READY_FOR_DEVICE};
use holm_api::link::Token;
use holm_api::port;
use holm_api::services::SharedKind;
use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::transport::Transport;
use apart::Apart;
use copy::{Replays, Shared, Stream, Takers, Together};

/// The host has opened the share already when it hands out the token.
const READY_DEADLINE: Duration = Duration::from_secs(10);
/// Bytes of the plan: paths and a token.
const LONGEST_PLAN: u64 = 64 << 10;
/// What the engine waits for on standard output.
const MOUNTED: &[u8] = b"mounted\n";

/// What the engine wants, as JSON on standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Where to mount, or to listen. A folder or a file is there; a socket is not.
    pub(crate) at: PathBuf,
    /// What is shared.
    pub(crate) kind: SharedKind,
    /// Opens the stream.
    pub(crate) token: Token,
    /// Unix sockets in place of vsock.
    pub(crate) sockets: Option<PathBuf>,
}

/// Mounts a share and serves it until its end.
pub(crate) fn run() -> ExitCode {
    // Not the engine's session: what is sent to that is not for us.
    let _ = nix::unistd::setsid();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The engine reads it where it still waits.
            let _ = io::stdout().lock().write_all(error.to_string().as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut plan = Vec::new();
    io::stdin().lock().take(LONGEST_PLAN).read_to_end(&mut plan)?;
    let plan: Plan = serde_json::from_slice(&plan)?;
    if plan.kind == SharedKind::Socket {
        return relay::serve(&plan);
    }

    let together = Arc::new(Together::default());
    let (notify, notices) = mpsc::sync_channel(MOST_ANNOUNCED + 1);
    let (list, to_list) = mpsc::sync_channel(MOST_LISTED);
    let (replay, to_replay) = mpsc::sync_channel(1);
    let (tell_replayed, replayed) = mpsc::sync_channel(1);
    // How each has ended is told where it ended.
    let replayer = Apart::start("replays", plan.at.clone(), move |stream, root| {
        drop(copy::replays(stream, root, &to_replay, &tell_replayed));
    })?;
    let lister = Apart::start("lists", plan.at.clone(), move |stream, root| {
        drop(ahead::lists(stream, root, &to_list));
    })?;
    let (socket, whose) = open_stream(&plan, replayer.thread)?;
    let replayer = replayer.with(Stream::new(socket.try_clone()?, together.clone()))?;
    let lister = lister.with(Stream::new(socket.try_clone()?, together.clone()))?;

    let device = mount::device()?;
    mount::mount(device.as_fd(), &plan.at, plan.kind == SharedKind::Folder)?;
    let device = match whose {
        Device::Ours => Some(device),
        Device::Hosts => {
            mount::hand_over(&socket, device).inspect_err(|_| mount::unmount(&plan.at))?;
            None
        }
    };
    let ours = device.is_some();
    let shared = Arc::new(Shared::new(device, Stream::new(socket, together.clone())));
    let (requests, replies) = (shared.clone(), shared.clone());
    let spawn = |name: &str| thread::Builder::new().name(name.into());
    if ours {
        spawn("requests").spawn(move || copy::requests(&requests))?;
    }
    let takers = Takers { notices: notify, lists: list };
    spawn("replies").spawn(move || copy::replies(&replies, &takers))?;
    // Answered by the host, so it is the proof that all of it works.
    let root = mount::enter(&plan.at).inspect_err(|_| mount::unmount(&plan.at))?;
    if let Err(error) = mount::read_ahead(root.as_fd()) {
        tracing::warn!("{} reads ahead as little as any: {error}", plan.at.display());
    }
    for thread in [replayer, lister] {
        thread.enter().inspect_err(|_| mount::unmount(&plan.at))?;
    }
    let plan_at = plan.at.clone();
    let work = Replays { replays: replay, replayed };
    spawn("notices").spawn(move || {
        // What the engine listens to is closed when this process is killed, also if this thread is not yet.
        if let Err(error) = apart::split_off() {
            tracing::warn!("the engine may not notice the end of {}: {error}", plan_at.display());
        }
        copy::notices(&shared, &notices, &work)
    })?;
    say_mounted()?;

    // Whichever ends first ends the rest: nothing of a share works without all of it.
    together.until_ended();
    // A notification may wait for somebody who waits for a reply, and holds the device open meanwhile.
    mount::abort(&plan.at);
    Ok(())
}

/// The engine goes on when it reads this, and waits for the end of it.
fn say_mounted() -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(MOUNTED)?;
    stdout.flush()
}

/// Standard output leads nowhere from here on.
fn silence() -> io::Result<()> {
    let null = File::options().write(true).open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdout(null.as_fd())?)
}

/// Who reads the requests.
enum Device {
    Ours,
    Hosts,
}

/// Dials the host and proves that it may.
fn open_stream(plan: &Plan, replayer: i32) -> io::Result<(Socket, Device)> {
    let transport = Transport::new(plan.sockets.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stream = runtime.block_on(transport.connect_host(port::FILES))?;
    let socket = {
        let _entered = runtime.enter();
        stream.into_socket()
    };
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(READY_DEADLINE))?;
    let hands_over = if plan.sockets.is_some() { HANDS_OVER } else { 0 };
    let opening = replayer.cast_unsigned() | hands_over;
    (&socket).write_all(&[&plan.token.0[..], &opening.to_le_bytes()].concat())?;
    let mut ready = [0];
    (&socket).read_exact(&mut ready)?;
    let whose = match ready {
        [READY] => Device::Ours,
        [READY_FOR_DEVICE] => Device::Hosts,
        _ => return Err(io::Error::other("the computer does not serve the folder")),
    };
    socket.set_read_timeout(None)?;
    Ok((socket, whose))
}
