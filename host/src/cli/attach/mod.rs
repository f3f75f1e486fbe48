//! A container's streams joined to ours: what is typed goes in, what it writes comes out.

mod copy;
mod escape;
mod proxy;

use std::io::{self, IsTerminal};

use futures_util::future::Either;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadHalf, WriteHalf};

use super::client::{Call, Client};
use super::error::CliError;
use crate::os::terminal::RawMode;

pub(crate) use copy::{demultiplex, plain};
pub(crate) use escape::{DetachKeys, NotAKey};
pub(crate) use proxy::{Proxy, follow_size, redraw};

/// Which streams are joined, and how.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// Ours to the container's standard input.
    pub(crate) stdin: bool,
    /// The container's standard output to ours.
    pub(crate) stdout: bool,
    /// The container's standard error to ours.
    pub(crate) stderr: bool,
    /// The container has a terminal: one stream, and ours is in raw mode meanwhile.
    pub(crate) tty: bool,
    /// Typing these ends the attachment and leaves the container running.
    pub(crate) keys: DetachKeys,
}

/// How an attachment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The container's output is over.
    Output,
    /// The detach keys were typed.
    Detached,
}

/// A connection to a container's streams.
pub(crate) struct Attached {
    connection: TokioIo<Upgraded>,
    how: Attachment,
}

impl Attached {
    /// Attaches. From here on, nothing that the container writes is missed.
    pub(crate) async fn open(client: &Client, container: &str, how: Attachment) -> Result<Self, CliError> {
        let call = Call::post(format!("/containers/{container}/attach"))
            .query("stream", "1")
            .flag("stdin", how.stdin)
            .flag("stdout", how.stdout)
            .flag("stderr", how.stderr)
            .option("detachKeys", how.keys.custom());
        Self::call(client, call, how).await
    }

    /// Sends a request that is answered with the streams themselves.
    pub(crate) async fn call(client: &Client, call: Call, how: Attachment) -> Result<Self, CliError> {
        let connection = client.send(call.upgrade()).await?.upgraded().await?;
        Ok(Self { connection, how })
    }

    /// Copies until the container's output ends or the detach keys are typed; without output, until our input
    /// ends. The terminal is as before when this returns or is dropped.
    pub(crate) async fn stream(self) -> Result<End, CliError> {
        let raw = match self.how.tty && self.how.stdin {
            true => RawMode::enter().map_err(|cause| CliError::Local {
                what: "cannot set the terminal to raw mode".to_owned(),
                cause,
            })?,
            false => None,
        };
        let (reader, writer) = tokio::io::split(self.connection);
        let input = input(&self.how, writer);
        let output = output(&self.how, reader);
        tokio::pin!(input, output);
        let end = match futures_util::future::select(output, input).await {
            Either::Left((done, _)) => done.map(|()| End::Output),
            Either::Right((Ok(End::Detached), _)) => Ok(End::Detached),
            // Our input is over or the container no longer takes it; what it still has to say is awaited.
            Either::Right((_, output)) if self.how.stdout || self.how.stderr => {
                output.await.map(|()| End::Output)
            }
            Either::Right((end, _)) => end,
        };
        drop(raw);
        end
    }
}

/// Sends our input until it ends, then tells the container so.
async fn input(how: &Attachment, mut writer: WriteHalf<TokioIo<Upgraded>>) -> Result<End, CliError> {
    if how.stdin {
        let keys = how.tty.then_some(&how.keys);
        if copy::typed(&mut tokio::io::stdin(), &mut writer, keys).await? == End::Detached {
            return Ok(End::Detached);
        }
    }
    // A container that has ended meanwhile needs no telling.
    let _ = writer.shutdown().await;
    Ok(End::Output)
}

/// Prints the container's output until it ends; without output to print, waits for ever.
async fn output(how: &Attachment, reader: ReadHalf<TokioIo<Upgraded>>) -> Result<(), CliError> {
    if !how.stdout && !how.stderr {
        return std::future::pending().await;
    }
    print(reader, how.tty).await
}

/// Prints a container's output to the end: as it is where it has a terminal, else each stream to ours.
pub(crate) async fn print(reader: impl AsyncRead + Unpin, tty: bool) -> Result<(), CliError> {
    if tty {
        plain(reader, &mut tokio::io::stdout()).await
    } else {
        demultiplex(reader, &mut tokio::io::stdout(), &mut tokio::io::stderr()).await
    }
}

/// What is said of an attachment that the detach keys have ended, where that leaves no status to give.
pub(crate) fn detached() -> CliError {
    CliError::said("read escape sequence")
}

/// A container's terminal needs one on our side to type into.
pub(crate) fn check_terminal(stdin: bool, tty: bool) -> Result<(), CliError> {
    if stdin && tty && !io::stdin().is_terminal() {
        return Err(CliError::said("the input device is not a TTY"));
    }
    Ok(())
}
