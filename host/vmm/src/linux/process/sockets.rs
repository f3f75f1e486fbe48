//! The streams of a process machine: `guest-<port>.sock`, where the guest listens, and `host-<port>.sock`, where we do,
//! in one folder.
//!
//! Paths go through /proc/self/fd, because a socket's address holds 107 bytes and a home directory may be longer.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener as BoundListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use crate::linux::child::wait_for_exit;
use crate::{BoxFuture, Exit, Listener, Port, Stream};

/// The folder.
pub(super) struct Sockets(Arc<File>);

impl Sockets {
    /// Takes the folder and removes what an earlier machine left in it.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self(Arc::new(File::open(folder)?)))
    }

    /// A stream to a port the guest listens on.
    pub(super) async fn connect(&self, port: Port) -> io::Result<UnixStream> {
        UnixStream::connect(path(&self.0, &format!("guest-{port}.sock"))).await.map_err(|error| {
            match error.kind() {
                // It has not listened yet.
                io::ErrorKind::NotFound => io::ErrorKind::ConnectionRefused.into(),
                _ => error,
            }
        })
    }

    /// Listens on a port of the host. `exit` ends the listening.
    pub(super) fn listen(
        &self,
        port: Port,
        exit: watch::Receiver<Option<Exit>>,
    ) -> io::Result<SocketListener> {
        let path = path(&self.0, &format!("host-{port}.sock"));
        let listener = BoundListener::bind(&path)?;
        listener.set_nonblocking(true)?;
        let state = State::Bound(listener);
        Ok(SocketListener { state, path, _folder: Arc::clone(&self.0), exit })
    }
}

fn path(folder: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))
}

/// A socket that listens until it is dropped.
pub(super) struct SocketListener {
    state: State,
    path: PathBuf,
    /// Keeps the number in `path` ours.
    _folder: Arc<File>,
    exit: watch::Receiver<Option<Exit>>,
}

/// `listen` is called outside of a runtime too, `accept` always within one.
enum State {
    Bound(BoundListener),
    Accepting(UnixListener),
}

impl SocketListener {
    fn accepting(&mut self) -> io::Result<&UnixListener> {
        if let State::Bound(listener) = &self.state {
            self.state = State::Accepting(UnixListener::from_std(listener.try_clone()?)?);
        }
        match &self.state {
            State::Accepting(listener) => Ok(listener),
            State::Bound(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn next(&mut self) -> io::Result<Stream> {
        let mut exit = self.exit.clone();
        let listener = self.accepting()?;
        tokio::select! {
            accepted = listener.accept() => Ok(Box::new(accepted?.0)),
            exit = wait_for_exit(&mut exit) => {
                Err(io::Error::new(io::ErrorKind::NotConnected, format!("the machine {exit}")))
            }
        }
    }
}

impl Listener for SocketListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(self.next())
    }
}

impl Drop for SocketListener {
    fn drop(&mut self) {
        // So that the port can be listened on again. The folder is emptied at the next boot in any case.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn sockets() -> (tempfile::TempDir, Sockets) {
        let base = tempfile::tempdir().unwrap();
        let long = base.path().join("x".repeat(200));
        fs::create_dir(&long).unwrap();
        let sockets = Sockets::open(&long).unwrap();
        (base, sockets)
    }

    #[tokio::test]
    async fn a_port_the_guest_does_not_listen_on_refuses() {
        let (_base, sockets) = sockets();
        assert_eq!(sockets.connect(1024).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_stream_is_half_closed_and_its_other_direction_goes_on() {
        let (_base, sockets) = sockets();
        let (_alive, exit) = watch::channel(None);
        let mut listener = sockets.listen(1027, exit).unwrap();
        let guest_path = path(&sockets.0, "host-1027.sock");
        let mut guest = UnixStream::connect(guest_path).await.unwrap();
        let mut host = listener.accept().await.unwrap();
        guest.write_all(b"question").await.unwrap();
        guest.shutdown().await.unwrap();
        let mut question = String::new();
        host.read_to_string(&mut question).await.unwrap();
        host.write_all(b"answer").await.unwrap();
        drop(host);
        let mut answer = String::new();
        guest.read_to_string(&mut answer).await.unwrap();
        assert_eq!((question.as_str(), answer.as_str()), ("question", "answer"));
    }

    #[tokio::test]
    async fn accept_ends_with_the_machine_and_the_port_is_free_again() {
        let (_base, sockets) = sockets();
        let (died, exit) = watch::channel(None);
        let mut listener = sockets.listen(1027, exit.clone()).unwrap();
        died.send_replace(Some(Exit::PoweredOff));
        let Err(error) = listener.accept().await else { panic!("accepted a stream of nobody") };
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        drop(listener);
        sockets.listen(1027, exit).unwrap();
    }
}
