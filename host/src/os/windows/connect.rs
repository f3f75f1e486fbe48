//! Reaching a daemon by its named pipe.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeClient};

/// All of the pipe's instances are taken: the server makes a new one when it has accepted a client.
const ERROR_PIPE_BUSY: i32 = 231;
/// How often a busy pipe is tried again.
const TRIES: u32 = 100;

/// The connection to the daemon that listens at `pipe`. Needs a Tokio runtime; waits at most two seconds for
/// a free instance.
pub(crate) async fn connect(pipe: &Path) -> io::Result<NamedPipeClient> {
    for _ in 1..TRIES {
        match ClientOptions::new().open(pipe) {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            answer => return answer,
        }
    }
    ClientOptions::new().open(pipe)
}
