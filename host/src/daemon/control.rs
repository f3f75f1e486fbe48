//! `holm machine …` and the daemon: a line of JSON each way over `run/daemon.sock`.
//!
//! Apart from the engine's socket, because what it asks for ends the engine.

use std::io;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use super::shares::Listed;
use crate::home::Home;
use crate::os;

/// Bytes of the longest line.
const LONGEST_LINE: u64 = 64 << 10;
/// A start or a stop is told within the daemon's own deadlines; this is longer than any of them.
const REPLY_DEADLINE: Duration = Duration::from_secs(200);
/// Whoever connects says at once what it wants.
const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// What a command asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Request {
    /// How the machine is.
    Status,
    /// A running machine.
    Start,
    /// No machine.
    Stop,
    /// Another machine.
    Restart,
    /// What the daemon works with on this computer.
    Diagnose,
    /// What containers have mounted of this computer.
    Shares,
    /// No machine and no data: every image, container and volume is deleted.
    Reset,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// It is as asked; this is how it is now.
    Status(Box<Status>),
    /// What it works with on this computer.
    Surroundings(Surroundings),
    /// What containers have mounted of this computer.
    Shares(Vec<Listed>),
    /// It is not, and why.
    Failed {
        /// A sentence.
        message: String,
        /// The next thing to type, if known.
        hint: Option<String>,
        /// The machine's last words on its console.
        console: Vec<String>,
    },
}

/// What the daemon works with on this computer, which may differ from what a command sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// Proxies that the machine was told of, as it sees them.
    pub(crate) proxies: Vec<String>,
    /// Bytes that are left where the machine's disk lies; `None` where the system does not say.
    pub(crate) disk_free: Option<u64>,
}

/// The machine, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// `stopped`, `starting`, `running`, `stopping` or `failed`.
    pub(crate) state: String,
    /// As the settings call it.
    pub(crate) hypervisor: String,
    /// What stands in for the processor's virtualization; `None` where nothing has to.
    pub(crate) emulation: Option<String>,
    /// `uname -r` of the guest, while it runs.
    pub(crate) kernel: Option<String>,
    /// Version and digest of the guest image; `None` where the machine has none.
    pub(crate) image: Option<String>,
    /// Seconds since it was ready, while it runs.
    pub(crate) uptime_seconds: Option<u64>,
    /// Processors.
    pub(crate) cpus: u32,
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// Size of the data disk in bytes, and what it takes on this computer.
    pub(crate) disk: u64,
    /// Bytes that the data disk takes on this computer.
    pub(crate) disk_used: u64,
    /// Version of the daemon's program.
    pub(crate) daemon_version: String,
    /// The daemon's process.
    pub(crate) daemon_pid: u32,
    /// The machine's process, where it is one.
    pub(crate) machine_pid: Option<u32>,
    /// What does not work in this machine and why, a sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Why a command got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Nobody listens.
    #[error("the Holm daemon is not running")]
    NotRunning,
    /// Somebody listens and cannot be understood.
    #[error("the Holm daemon at {0} did not answer")]
    NoAnswer(String, #[source] io::Error),
}

/// Asks the daemon of `home`.
pub(crate) async fn ask(home: &Home, request: Request) -> Result<Reply, ControlError> {
    let socket = home.control_socket();
    let stream = match os::connect(&socket).await {
        Ok(stream) => stream,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Err(ControlError::NotRunning);
        }
        Err(e) => return Err(no_answer(&socket, e)),
    };
    let exchange = async {
        let (reader, mut writer) = tokio::io::split(stream);
        write_line(&mut writer, &request).await?;
        read_line(reader).await
    };
    match timeout(REPLY_DEADLINE, exchange).await {
        Ok(answered) => answered.map_err(|e| no_answer(&socket, e)),
        Err(_) => Err(no_answer(&socket, io::ErrorKind::TimedOut.into())),
    }
}

fn no_answer(socket: &Path, cause: io::Error) -> ControlError {
    ControlError::NoAnswer(socket.display().to_string(), cause)
}

/// Reads a request from a command.
pub(super) async fn read_request(reader: impl tokio::io::AsyncRead + Unpin) -> io::Result<Request> {
    timeout(REQUEST_DEADLINE, read_line(reader)).await?
}

/// Answers a command.
pub(super) async fn write_reply(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    reply: &Reply,
) -> io::Result<()> {
    write_line(writer, reply).await
}

async fn write_line(
    writer: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    writer.flush().await
}

async fn read_line<T: for<'de> Deserialize<'de>>(reader: impl tokio::io::AsyncRead + Unpin) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(reader.take(LONGEST_LINE)).read_line(&mut line).await?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_str(&line)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_reads_back_as_it_was_written() {
        let mut line = Vec::new();
        write_line(&mut line, &Request::Restart).await.unwrap();
        assert_eq!(line, b"\"restart\"\n");
        assert_eq!(read_request(line.as_slice()).await.unwrap(), Request::Restart);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_not_an_answer() {
        assert!(read_line::<Reply>(&b"\"sta"[..]).await.is_err());
        let endless = vec![b'x'; 2 * LONGEST_LINE as usize];
        assert!(read_line::<Reply>(endless.as_slice()).await.is_err());
    }

    #[tokio::test]
    async fn a_home_without_a_daemon_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::locate(Some(folder.path().into()), None).unwrap();
        assert!(matches!(ask(&home, Request::Status).await, Err(ControlError::NotRunning)));
    }
}
