//! The vsock device of a QEMU machine: our own [`crate::vsock::Device`], served to QEMU as vhost-user.
//!
//! QEMU hands over the guest's memory and two queues; from then on packets go between the guest and this process
//! without QEMU. One thread moves all bytes, straight between guest memory and the sockets whose other ends are the
//! streams that [`Vsock::connect`] and [`VsockListener`] give out.
//!
//! ```text
//!   tokio ──socket── HostEnd ─┐                 ┌─ queue to the guest ───┐
//!   tokio ──socket── HostEnd ─┼─ Pump (Device) ─┤                        ├─ guest's driver
//!   tokio ──socket── HostEnd ─┘                 └─ queue from the guest ─┘
//! ```

mod backend;
mod buffer;
mod commands;
mod host_end;
mod pump;
mod streams;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream as BlockingStream};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use tokio::net::UnixStream;
use tokio::sync::oneshot;
use vhost_user_backend::VhostUserDaemon;
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use self::backend::{Backend, OWN_EVENTS};
use self::commands::{Command, Commands};
use self::pump::Pump;
use crate::Port;

/// Streams of one port that wait to be accepted, as listen(2) has it.
const BACKLOG: usize = 128;

/// The host's side of a guest's vsock.
pub(super) struct Vsock {
    commands: Arc<Commands>,
    when_ended: Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>,
}

impl Vsock {
    /// Starts the device. The socket is for QEMU; the device ends when QEMU closes it. `negotiated` becomes ready
    /// once QEMU has asked for the device's features, or fails when it never did.
    pub(super) fn start(folder: &Path) -> io::Result<(Self, OwnedFd, mpsc::Receiver<()>)> {
        let commands = Arc::new(Commands::new()?);
        let (for_qemu, listener) = private_connection(folder)?;
        let (negotiated, when_negotiated) = mpsc::channel();
        let when_ended = Arc::new(OnceLock::<Box<dyn Fn() + Send + Sync>>::new());
        let vsock = Self { commands: Arc::clone(&commands), when_ended: Arc::clone(&when_ended) };
        thread::Builder::new().name("vsock".into()).spawn(move || {
            if let Err(error) = serve(listener, &commands, negotiated) {
                tracing::error!(%error, "the vsock device ended");
            }
            commands.close();
            if let Some(act) = when_ended.get() {
                act();
            }
        })?;
        Ok((vsock, for_qemu, when_negotiated))
    }

    /// Does `act`, perhaps twice, when the device has ended, be it because QEMU has or for an error of its own.
    pub(super) fn when_ended(&self, act: impl Fn() + Send + Sync + 'static) {
        let act = self.when_ended.get_or_init(|| Box::new(act));
        // It may have ended before there was anything to do.
        if self.commands.is_closed() {
            act();
        }
    }

    /// Opens a stream to a port of the guest.
    pub(super) async fn connect(&self, port: Port) -> io::Result<UnixStream> {
        let (theirs, ours) = BlockingStream::pair()?;
        let (answer, answered) = oneshot::channel();
        self.commands.send(Command::Dial { port, stream: ours, answer })?;
        match answered.await {
            Ok(true) => {
                theirs.set_nonblocking(true)?;
                UnixStream::from_std(theirs)
            }
            Ok(false) => Err(io::ErrorKind::ConnectionRefused.into()),
            Err(_) => Err(ended()),
        }
    }

    /// Takes streams that the guest opens to a port of the host.
    pub(super) fn listen(&self, port: Port) -> io::Result<VsockListener> {
        let (offer, offered) = tokio::sync::mpsc::channel(BACKLOG);
        let (answer, answered) = mpsc::channel();
        self.commands.send(Command::Listen { port, offer, answer })?;
        match answered.recv() {
            Ok(true) => Ok(VsockListener { port, offered, commands: Arc::clone(&self.commands) }),
            Ok(false) => Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => Err(ended()),
        }
    }
}

/// Streams that the guest opens to one port, until this is dropped.
pub(super) struct VsockListener {
    port: Port,
    offered: tokio::sync::mpsc::Receiver<BlockingStream>,
    commands: Arc<Commands>,
}

impl VsockListener {
    pub(super) async fn accept(&mut self) -> io::Result<UnixStream> {
        let stream = self.offered.recv().await.ok_or_else(ended)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    }
}

impl Drop for VsockListener {
    fn drop(&mut self) {
        self.offered.close();
        // Fails where the device has ended, and the port with it.
        let _ = self.commands.send(Command::Forget { port: self.port });
    }
}

fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the machine has ended")
}

/// The library below wants to accept, so there is a listener for a moment: in a folder only we may enter, and gone
/// before anybody else is started.
fn private_connection(folder: &Path) -> io::Result<(OwnedFd, UnixListener)> {
    let folder = std::fs::File::open(folder)?;
    // By descriptor, because a socket's path has 107 bytes at most.
    let path = format!("/proc/self/fd/{}/vsock.sock", folder.as_raw_fd());
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    let connected = BlockingStream::connect(&path);
    std::fs::remove_file(&path)?;
    Ok((connected?.into(), listener))
}

/// Runs the device until QEMU closes its socket.
fn serve(
    listener: UnixListener,
    commands: &Arc<Commands>,
    negotiated: mpsc::Sender<()>,
) -> Result<(), vhost_user_backend::Error> {
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let pump = Pump::new(Arc::clone(commands)).map_err(vhost_user_backend::Error::StartDaemon)?;
    let events = pump.events();
    let backend = Arc::new(Mutex::new(Backend::new(pump, memory.clone(), negotiated)));
    let mut daemon = VhostUserDaemon::new("vsock control".into(), Arc::clone(&backend), memory)?;
    for handler in daemon.get_epoll_handlers() {
        handler
            .register_listener(events.as_raw_fd(), EventSet::IN, OWN_EVENTS.into())
            .map_err(vhost_user_backend::Error::StartDaemon)?;
    }
    daemon.start(&mut listener.into())?;
    let result = daemon.wait();
    // Joins the thread that moves bytes, so that nothing of the guest is in use after this.
    drop(daemon);
    match result {
        // What an end of QEMU looks like, depending on what it was doing.
        Err(vhost_user_backend::Error::HandleRequest(
            vhost::vhost_user::Error::Disconnected | vhost::vhost_user::Error::PartialMessage,
        )) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
