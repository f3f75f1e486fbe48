//! Streams between guest and host, by port: vsock in a machine with its own kernel, Unix sockets in a folder
//! where `holmd` is a process of the host's.
//!
//! Both are one type here, a non-blocking socket in tokio's hands, so nobody above knows which it is. In the
//! folder the guest listens on `guest-<port>.sock` and the host on `host-<port>.sock`; the folder's own mode
//! decides who may connect. vsock has no such thing and no namespaces either, so a listener takes the host alone.

#![expect(unsafe_code, reason = "AsyncFd::register asks its caller to vouch for the descriptor")]

use std::fmt;
use std::io::{self, IoSlice, Read};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use holm_api::VsockPort;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, UnixAddr, VsockAddr, bind, connect,
    getpeername, listen, socket,
};
use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Clients open many connections at once, and vsock refuses what the backlog does not hold.
const BACKLOG: i32 = 128;

/// How guest and host reach each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// AF_VSOCK.
    Vsock,
    /// Unix sockets in this folder, which exists.
    Unix(PathBuf),
}

impl Transport {
    /// Vsock, unless a folder of sockets is given.
    pub fn new(sockets: Option<PathBuf>) -> Self {
        sockets.map_or(Self::Vsock, Self::Unix)
    }

    /// Takes the host's connections to one of the guest's ports. Call it inside a tokio runtime.
    ///
    /// A leftover Unix socket of that port is replaced: only one process at a time serves a port, and the one
    /// that was killed could not remove it.
    pub fn listen(&self, port: VsockPort) -> io::Result<Listener> {
        let address = match self {
            Self::Vsock => Address::Vsock(VsockAddr::new(libc::VMADDR_CID_ANY, port.0)),
            Self::Unix(folder) => {
                let path = folder.join(format!("guest-{port}.sock"));
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => Address::Unix(UnixAddr::new(&path)?),
                }
            }
        };
        let socket = address.socket()?;
        bind(socket.as_raw_fd(), address.as_dyn())?;
        listen(&socket, Backlog::new(BACKLOG)?)?;
        Ok(Listener { socket: register(socket)? })
    }

    /// Opens a stream to one of the host's ports.
    pub async fn connect_host(&self, port: VsockPort) -> io::Result<Stream> {
        let address = match self {
            Self::Vsock => Address::Vsock(VsockAddr::new(libc::VMADDR_CID_HOST, port.0)),
            Self::Unix(folder) => Address::Unix(UnixAddr::new(&folder.join(format!("host-{port}.sock")))?),
        };
        let socket = address.socket()?;
        let under_way = match connect(socket.as_raw_fd(), address.as_dyn()) {
            Ok(()) => false,
            Err(Errno::EINPROGRESS) => true,
            Err(error) => return Err(error.into()),
        };
        let stream = Stream { socket: register(socket)? };
        if under_way {
            // The kernel gives up on a vsock connect after two seconds, so this wait ends by itself.
            let _writable = stream.socket.writable().await?;
            if let Some(error) = stream.socket.get_ref().take_error()? {
                return Err(error);
            }
        }
        Ok(stream)
    }
}

/// One end of a stream, as the kernel calls it.
enum Address {
    Vsock(VsockAddr),
    Unix(UnixAddr),
}

impl Address {
    fn as_dyn(&self) -> &dyn SockaddrLike {
        match self {
            Self::Vsock(address) => address,
            Self::Unix(address) => address,
        }
    }

    /// A new socket of its family.
    fn socket(&self) -> io::Result<Socket> {
        let family = match self {
            Self::Vsock(_) => AddressFamily::Vsock,
            Self::Unix(_) => AddressFamily::Unix,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        Ok(Socket::from(socket(family, SockType::Stream, flags, None)?))
    }
}

/// Connections of the host to one port.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<Socket>,
}

impl Listener {
    /// The next one. An error concerns this listener, not one connection: errors of those are passed over.
    /// May be dropped while it waits without losing a connection.
    pub async fn accept(&self) -> io::Result<Stream> {
        loop {
            let mut ready = self.socket.readable().await?;
            match ready.try_io(|socket| socket.get_ref().accept()) {
                Err(_would_block) => {}
                Ok(Ok((socket, peer))) => {
                    if peer.is_unix() || is_host(&getpeername::<VsockAddr>(socket.as_raw_fd())?) {
                        socket.set_nonblocking(true)?;
                        return Ok(Stream { socket: register(socket)? });
                    }
                    tracing::warn!("refused a vsock connection that is not the host's");
                }
                // accept(2) reports what happened to a connection before it was taken.
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Ok(Err(error)) => return Err(error),
            }
        }
    }
}

/// Hands a socket to tokio.
fn register(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor and gives it up only when it is dropped.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// A Unix socket's folder is its owner's; anybody with a vsock may dial a vsock port.
fn is_host(peer: &VsockAddr) -> bool {
    peer.cid() == libc::VMADDR_CID_HOST
}

/// Both directions between guest and host. `shutdown` ends the writing direction only, and the other side reads
/// to the end what was written before it.
pub struct Stream {
    socket: AsyncFd<Socket>,
}

impl Stream {
    /// The socket itself, for a thread that is not tokio's; it is still non-blocking.
    pub fn into_socket(self) -> Socket {
        self.socket.into_inner()
    }

    /// Tries `write` until it does not answer that it would block.
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.socket.poll_write_ready(cx))?;
            if let Ok(result) = ready.try_io(|socket| write(socket.get_ref())) {
                return Poll::Ready(result);
            }
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(self.socket.get_ref()).finish()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.socket.poll_read_ready(cx))?;
            let unfilled = buf.initialize_unfilled();
            if let Ok(result) = ready.try_io(|socket| socket.get_ref().read(unfilled)) {
                return Poll::Ready(result.map(|count| buf.advance(count)));
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.send_with_flags(buf, libc::MSG_NOSIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |socket| socket.send_vectored_with_flags(bufs, libc::MSG_NOSIGNAL))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The peer went first.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};

    const PORT: VsockPort = VsockPort(7);

    #[tokio::test]
    async fn the_end_of_one_direction_leaves_the_other_open() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Transport::Unix(folder.path().into()).listen(PORT).unwrap();
        let mut host = UnixStream::connect(folder.path().join("guest-7.sock")).await.unwrap();
        let mut guest = listener.accept().await.unwrap();

        guest.write_all(b"answer").await.unwrap();
        guest.shutdown().await.unwrap();
        let mut read = String::new();
        host.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "answer");

        host.write_all(b"and more").await.unwrap();
        drop(host);
        read.clear();
        guest.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "and more");
    }

    #[tokio::test]
    async fn more_than_the_socket_holds_arrives_whole() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("host-7.sock")).unwrap();
        let mut guest = Transport::Unix(folder.path().into()).connect_host(PORT).await.unwrap();
        let (mut host, _) = listener.accept().await.unwrap();
        let sent: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        let writer = async {
            guest.write_all(&sent).await.unwrap();
            guest.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, result) = tokio::join!(writer, host.read_to_end(&mut read));
        result.unwrap();
        assert!(read == sent);
    }

    #[tokio::test]
    async fn a_killed_predecessors_socket_does_not_stop_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let transport = Transport::Unix(folder.path().into());
        drop(transport.listen(PORT).unwrap());
        assert!(folder.path().join("guest-7.sock").exists());
        transport.listen(PORT).unwrap();
    }

    #[tokio::test]
    async fn nobody_listening_on_the_host_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Transport::Unix(folder.path().into()).connect_host(PORT).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn of_all_vsock_peers_only_the_host_is_taken() {
        assert!(is_host(&VsockAddr::new(2, 1)));
        for cid in [0, 1, 3, u32::MAX] {
            assert!(!is_host(&VsockAddr::new(cid, 1)), "{cid}");
        }
    }
}
