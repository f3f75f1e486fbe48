//! The engine's side of a shim: starts one, or finds one that an earlier engine started, and asks it things.
//! A client keeps no connection; each request opens its own, so that `wait` and `attach` hinder nobody.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use holm_api::ExecId;
use oci_spec::runtime::Spec;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::Command;
use tokio::time::timeout;

use super::protocol::{
    Created, ExecConfig, ExitStatus, Failure, LONGEST_MESSAGE, LogEnd, Reply, Request, ShimConfig, WindowSize,
};
use super::{attached, bundle, leftovers, message};

pub use super::protocol::Streams;
pub use attached::Output;

/// How long a shim may take to create a container: layers on a cold disk, hundreds of starts at once.
const CREATE_DEADLINE: Duration = Duration::from_secs(60);
/// How long it may take to answer what it can answer at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// How long a further process may take until it is its program. As long as moby's daemon waits for a probe.
const EXEC_DEADLINE: Duration = Duration::from_secs(30);
/// How long a killed container may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(30);
/// How long it may take to unmount the root of an exited container.
const CLEAN_UP_DEADLINE: Duration = Duration::from_secs(120);

/// Why a shim did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// The container could not be created or started, or is in no state for the request. The message is the
    /// daemon's answer.
    #[error("{}", .0.message)]
    Container(Failure),
    /// There is no shim: it has ended after the exit, or it was killed and its container with it.
    #[error("the container's shim is gone")]
    Gone,
    /// The shim ended before it had created the container. Holds its last words.
    #[error("the container's shim ended unexpectedly: {0}")]
    Died(String),
    /// It did not answer in time.
    #[error("the container's shim did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It could not be started or talked to.
    #[error("the container's shim cannot be reached")]
    Io(#[from] io::Error),
    /// No program could be given as many words as the client wants to give it.
    #[error("argument list too long")]
    TooLong,
    /// It answered what is no answer to the request.
    #[error("the container's shim answered out of turn")]
    OutOfTurn,
}

/// One container's shim, by its socket.
#[derive(Clone, Debug)]
pub struct ShimClient {
    bundle: PathBuf,
    socket: PathBuf,
    exit_file: PathBuf,
}

/// Starts a shim and returns once its container is created, with the container's first process, which waits
/// for [`ShimClient::start`]. `program` is `holmd` itself. Writes the bundle's files; an exit file of an
/// earlier run is removed. When it fails, nothing is left running or mounted.
///
/// The shim lives on when the caller ends. While the caller lives, its tokio runtime reaps the shim.
pub async fn launch(
    program: &Path,
    bundle: &Path,
    spec: &Spec,
    config: &ShimConfig,
) -> Result<(ShimClient, i32), ShimError> {
    match tokio::fs::remove_file(&config.exit_file).await {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    bundle::write(bundle, spec, config)?;
    let log = OpenOptions::new().create(true).write(true).truncate(true).open(bundle::log(bundle))?;
    let mut shim = Command::new(program)
        .arg("shim")
        .arg(bundle)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()?;
    let mut stdout = shim.stdout.take().expect("piped just above");
    let created = match timeout(CREATE_DEADLINE, read_message(&mut stdout)).await {
        Ok(created) => created,
        Err(_) => {
            // The container's first process goes with its parent, so killing the shim undoes all it did.
            shim.kill().await?;
            return Err(ShimError::Silent(CREATE_DEADLINE));
        }
    };
    match created {
        Ok(Created::Ready { pid }) => Ok((ShimClient::new(bundle, &config.socket, &config.exit_file), pid)),
        Ok(Created::Failed(failure)) => Err(ShimError::Container(failure)),
        Err(ShimError::Gone) => {
            let status = shim.wait().await?;
            let words = bundle::log_tail(bundle);
            Err(ShimError::Died(if words.is_empty() { status.to_string() } else { words }))
        }
        Err(other) => Err(other),
    }
}

impl ShimClient {
    /// The shim of `bundle`, which listens on `socket` and writes `exit_file`, whether it lives or not:
    /// [`Self::state`] tells.
    pub fn new(bundle: &Path, socket: &Path, exit_file: &Path) -> Self {
        Self { bundle: bundle.to_owned(), socket: socket.to_owned(), exit_file: exit_file.to_owned() }
    }

    /// Lets the created container run.
    pub async fn start(&self) -> Result<(), ShimError> {
        self.done(Request::Start).await
    }

    /// Sends `signal` to the container's first process, or to `all` of its processes.
    pub async fn signal(&self, signal: i32, all: bool) -> Result<(), ShimError> {
        self.done(Request::Signal { signal, all }).await
    }

    /// Gives the container's terminal another size. Nothing happens to one that has none.
    pub async fn resize(&self, size: WindowSize) -> Result<(), ShimError> {
        self.done(Request::Resize(size)).await
    }

    /// The first process, and how it ended if it has.
    pub async fn state(&self) -> Result<(i32, Option<ExitStatus>), ShimError> {
        match self.ask(Request::State).await? {
            Reply::State { pid, exit } => Ok((pid, exit)),
            other => Err(unexpected(other)),
        }
    }

    /// How the container ended, when it has, from the shim or from the exit file it left. No deadline. All its
    /// output is in the log by then.
    ///
    /// [`ShimError::Gone`] says that the shim was killed: so is its container, and nobody knows more.
    pub async fn wait(&self) -> Result<ExitStatus, ShimError> {
        let asked = async {
            let mut stream = self.send(&Request::Wait).await?;
            match read_message(&mut stream).await? {
                Reply::Exited(status) => Ok(status),
                other => Err(unexpected(other)),
            }
        };
        match asked.await {
            Err(ShimError::Gone) => self.recorded_exit().await?.ok_or(ShimError::Gone),
            answer => answer,
        }
    }

    /// What the exit file says; `None` where there is none.
    pub async fn recorded_exit(&self) -> Result<Option<ExitStatus>, ShimError> {
        match tokio::fs::read(&self.exit_file).await {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(io::Error::from)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Streams to and from the container, from here on: what it wrote before is in the log. Output ends when
    /// the container's does. Dropping the writer (or its `shutdown`) ends the client's input, which closes the
    /// container's where it was created so; dropping the reader as well detaches.
    pub async fn attach(&self, streams: Streams) -> Result<(Output, OwnedWriteHalf), ShimError> {
        self.streams(Request::Attach(streams)).await
    }

    /// As [`Self::attach`], for who reads the log up to the returned place first: nothing is in both, and nothing in
    /// neither. `None` where no log is kept.
    pub async fn attach_after_log(
        &self,
        streams: Streams,
    ) -> Result<(Output, OwnedWriteHalf, Option<LogEnd>), ShimError> {
        match self.connect(Request::AttachAfterLog(streams)).await? {
            (Reply::AttachedAfter(end), output, input) => Ok((output, input, end)),
            (other, ..) => Err(unexpected(other)),
        }
    }

    /// Whether the container's `/etc/passwd` and `/etc/group` know `user`; [`ShimError::Container`] if not.
    pub async fn check_user(&self, user: String) -> Result<(), ShimError> {
        self.done(Request::CheckUser(user)).await
    }

    /// The streams of a further process that [`Self::exec`] is to run next. They end at once if it cannot be.
    pub async fn attach_exec(
        &self,
        id: ExecId,
        streams: Streams,
    ) -> Result<(Output, OwnedWriteHalf), ShimError> {
        self.streams(Request::AttachExec { id, streams }).await
    }

    /// Runs a further process; returns its number once it is its program, and where to wait for its end.
    pub async fn exec(&self, exec: ExecConfig) -> Result<(i32, RunningExec), ShimError> {
        let asked = async {
            let mut stream = self.send(&Request::Exec(Box::new(exec))).await?;
            match read_message(&mut stream).await? {
                Reply::Started { pid } => Ok((pid, RunningExec(stream))),
                other => Err(unexpected(other)),
            }
        };
        timeout(EXEC_DEADLINE, asked).await.unwrap_or(Err(ShimError::Silent(EXEC_DEADLINE)))
    }

    /// Gives a further process' terminal another size.
    pub async fn resize_exec(&self, id: ExecId, size: WindowSize) -> Result<(), ShimError> {
        self.done(Request::ResizeExec { id, size }).await
    }

    /// Sends a further process a signal.
    pub async fn signal_exec(&self, id: ExecId, signal: i32) -> Result<(), ShimError> {
        self.done(Request::SignalExec { id, signal }).await
    }

    async fn streams(&self, request: Request) -> Result<(Output, OwnedWriteHalf), ShimError> {
        match self.connect(request).await? {
            (Reply::Attached, output, input) => Ok((output, input)),
            (other, ..) => Err(unexpected(other)),
        }
    }

    /// Asks on a connection that then belongs to streams.
    async fn connect(&self, request: Request) -> Result<(Reply, Output, OwnedWriteHalf), ShimError> {
        let asked = async {
            let mut stream = self.send(&request).await?;
            Ok((read_message(&mut stream).await?, stream))
        };
        let (reply, stream) =
            timeout(ANSWER_DEADLINE, asked).await.unwrap_or(Err(ShimError::Silent(ANSWER_DEADLINE)))?;
        let (reader, writer) = stream.into_split();
        Ok((reply, Output::new(reader), writer))
    }

    /// Returns once the exited container's root is unmounted and its cgroup gone; the shim ends. Where the shim is
    /// gone already, ends what processes its container has left (one whose first process is set-user-ID, or that
    /// shares the machine's pids) and removes the cgroup in its place.
    pub async fn forget(&self) -> Result<(), ShimError> {
        // Unmounting syncs the file system below, which may have much to write.
        match self.ask_within(CLEAN_UP_DEADLINE, Request::Forget).await.and_then(done) {
            Err(ShimError::Gone) => {}
            other => return other,
        }
        let bundle = self.bundle.clone();
        let removed = tokio::task::spawn_blocking(move || leftovers::remove_after_kill(&bundle)).await;
        Ok(leftovers::absent_is_fine(removed.unwrap_or_else(|panicked| Err(io::Error::other(panicked))))?)
    }

    /// Ends the container, whatever it is at, and its shim, where they have not ended yet. Nothing is left of either.
    pub async fn end(&self) -> Result<(), ShimError> {
        // Refused where it has ended; then there is nothing to signal.
        let _ = self.signal(libc::SIGKILL, true).await;
        match timeout(KILL_DEADLINE, self.wait()).await {
            Ok(Ok(_) | Err(ShimError::Gone)) => self.forget().await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ShimError::Silent(KILL_DEADLINE)),
        }
    }

    async fn done(&self, request: Request) -> Result<(), ShimError> {
        self.ask(request).await.and_then(done)
    }

    async fn ask(&self, request: Request) -> Result<Reply, ShimError> {
        self.ask_within(ANSWER_DEADLINE, request).await
    }

    async fn ask_within(&self, deadline: Duration, request: Request) -> Result<Reply, ShimError> {
        let asked = async {
            let mut stream = self.send(&request).await?;
            read_message(&mut stream).await
        };
        timeout(deadline, asked).await.unwrap_or(Err(ShimError::Silent(deadline)))
    }

    async fn send(&self, request: &Request) -> Result<UnixStream, ShimError> {
        let message = message::encode(request);
        if message.len() > LONGEST_MESSAGE {
            return Err(ShimError::TooLong);
        }
        let mut stream = UnixStream::connect(&self.socket).await.map_err(gone)?;
        stream.write_all(&message).await.map_err(gone)?;
        Ok(stream)
    }
}

/// A further process that runs. Whoever drops this does not hear of its end.
#[derive(Debug)]
pub struct RunningExec(UnixStream);

impl RunningExec {
    /// How it ended, when it has. All its output is on its way to those attached by then. No deadline.
    pub async fn wait(mut self) -> Result<ExitStatus, ShimError> {
        match read_message(&mut self.0).await? {
            Reply::Exited(status) => Ok(status),
            other => Err(unexpected(other)),
        }
    }
}

/// Reads one message and not a byte more: what follows `Attached` is the container's output.
async fn read_message<T: DeserializeOwned>(reader: &mut (impl AsyncRead + Unpin)) -> Result<T, ShimError> {
    let mut buffer = Vec::new();
    loop {
        let wanted = message::wanting(&buffer).map_err(io::Error::other)?;
        let start = buffer.len();
        buffer.resize(start + wanted, 0);
        match reader.read_exact(&mut buffer[start..]).await {
            Ok(_) => {}
            Err(e) => return Err(gone(e)),
        }
        if let Some(message) = message::take(&mut buffer).map_err(io::Error::other)? {
            return Ok(message);
        }
    }
}

/// A shim that has ended looks like a missing socket, a refused connection or an early end, by how far it was.
fn gone(error: io::Error) -> ShimError {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    match error.kind() {
        NotFound | ConnectionRefused | ConnectionReset | BrokenPipe | UnexpectedEof => ShimError::Gone,
        _ => ShimError::Io(error),
    }
}

fn done(reply: Reply) -> Result<(), ShimError> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(reply: Reply) -> ShimError {
    match reply {
        Reply::Failed(failure) => ShimError::Container(failure),
        _ => ShimError::OutOfTurn,
    }
}
