//! `system dial-stdio`: is the connection to the daemon for somebody who logged in from elsewhere (`ssh://`).

use tokio::io::{AsyncWriteExt, copy, split, stdin, stdout};

use crate::cli::error::CliError;
use crate::cli::session::Session;

/// Docker's words, of which a doc comment would lose the full stop.
pub(crate) const ABOUT: &str =
    "Proxy the stdio stream to the daemon connection. Should not be invoked manually.";

/// Copies standard input to the daemon and its answers to standard output, until the daemon has said all.
pub(crate) async fn run(session: &Session) -> Result<(), CliError> {
    let (mut from_daemon, mut to_daemon) = split(session.client.open().await?);
    let failed = |what: &str, cause| CliError::Local { what: format!("error while Copy ({what})"), cause };
    let up = async {
        copy(&mut stdin(), &mut to_daemon).await?;
        to_daemon.shutdown().await
    };
    let down = async {
        let mut out = stdout();
        copy(&mut from_daemon, &mut out).await?;
        out.flush().await
    };
    tokio::pin!(up, down);
    tokio::select! {
        sent = &mut up => {
            sent.map_err(|cause| failed("stdin to stream", cause))?;
            down.await
        }
        // A terminal's input never ends.
        received = &mut down => received,
    }
    .map_err(|cause| failed("stream to stdout", cause))
}
