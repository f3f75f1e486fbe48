//! A connection that is a program: `ssh`, whose input and output are the daemon's.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// Bytes of what the program complains of that are shown.
const LONGEST_COMPLAINT: u64 = 4 << 10;

/// The program, which ends with the connection.
pub(super) struct SshStream {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    /// What it says beside its output, read as it comes so that it never waits for us.
    complaint: JoinHandle<String>,
    command: String,
    answered: bool,
}

impl SshStream {
    /// Starts `ssh`, which asks for passwords on the terminal by itself.
    pub(super) fn open(arguments: &[String]) -> io::Result<Self> {
        let mut child = Command::new("ssh")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let missing = || io::Error::other("ssh has no input or output");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        Ok(Self {
            child,
            stdin: Some(stdin),
            stdout,
            complaint: tokio::spawn(complaint(stderr)),
            command: format!("ssh {}", arguments.join(" ")),
            answered: false,
        })
    }

    /// Why it ended before the daemon said anything.
    fn failure(&mut self, complaint: &str) -> io::Error {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => format!(" has exited with {status}"),
            _ => " has closed its output".to_owned(),
        };
        io::Error::other(format!(
            "command [{}]{status}, make sure the URL is valid, and Docker 18.09 or later is installed on the remote host: stderr={}",
            self.command,
            complaint.trim_end(),
        ))
    }
}

async fn complaint(mut stderr: ChildStderr) -> String {
    let mut text = Vec::new();
    // What is wrong with this pipe cannot be told better than by what came through it.
    let _ = (&mut stderr).take(LONGEST_COMPLAINT).read_to_end(&mut text).await;
    let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&text).into_owned()
}

impl AsyncRead for SshStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stdout).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            this.answered = true;
        }
        if this.answered || buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let said = ready!(Pin::new(&mut this.complaint).poll(cx)).unwrap_or_default();
        this.answered = true;
        Poll::Ready(Err(this.failure(&said)))
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.stdin {
            Some(stdin) => ready!(Pin::new(stdin).poll_write(cx, bytes)),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        match written {
            // It ended before it was asked anything: what it complained of is read next, and says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe && !this.answered => {
                Poll::Ready(Ok(bytes.len()))
            }
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stdin {
            Some(stdin) => Pin::new(stdin).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The end of its input is a pipe that is closed; what it still says can be read.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stdin = None;
        Poll::Ready(Ok(()))
    }
}
