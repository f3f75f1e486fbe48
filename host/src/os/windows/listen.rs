//! Listening on a named pipe.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use tokio::net::windows::named_pipe::{NamedPipeServer, ServerOptions};

/// A client that came.
pub(crate) type Client = NamedPipeServer;

/// A named pipe; an instance waits for the next client.
pub(crate) struct Listener {
    name: OsString,
    next: NamedPipeServer,
}

impl Listener {
    /// Listens at `path`, a name under `\\.\pipe\`. Fails where another process listens there.
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        let name = path.as_os_str().to_owned();
        let next =
            ServerOptions::new().first_pipe_instance(true).reject_remote_clients(true).create(&name)?;
        Ok(Self { name, next })
    }

    /// The next client.
    pub(crate) async fn accept(&mut self) -> io::Result<Client> {
        self.next.connect().await?;
        let following = ServerOptions::new().reject_remote_clients(true).create(&self.name)?;
        Ok(std::mem::replace(&mut self.next, following))
    }
}
