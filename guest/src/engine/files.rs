//! The engine's side of `holmd files`: starts one for each look into a container's files, and passes on what goes
//! in and out of it, with a deadline on every piece. While one is at work its container neither starts nor goes.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{OwnedRwLockReadGuard, mpsc};
use tokio::time::timeout;

use super::mounts::{CONTAINER_ITSELF, MountPoint, Mounted};
use super::records::Definition;
use super::shares::{Scope, Shares};
use super::{Container, Engine, EngineError, State};
use crate::files::protocol::{Emptiness, FailureKind, Job, PathStat, Plan, Reply};
use crate::shim::message;
use crate::shim::protocol::Overlay;
use crate::volume::VolumeName;

/// How long a helper may say nothing, or take nothing: a cold disk, a machine that is busy.
const HELPER_DEADLINE: Duration = Duration::from_secs(120);
/// How long a whole copy into volumes, or the end of one into a container, may take.
const COPY_DEADLINE: Duration = Duration::from_secs(1800);
/// How long a client may take nothing, or send nothing.
pub(crate) const CLIENT_DEADLINE: Duration = Duration::from_secs(300);
/// Bytes passed on at once.
const PIECE: usize = 64 << 10;

/// A helper at work.
pub(crate) struct Files {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Keeps the container from starting, and from going.
    _here: Option<OwnedRwLockReadGuard<()>>,
    _volumes: Option<MountedFor>,
}

/// Volumes with a file system of their own and folders of the computer's that are mounted for one look.
struct MountedFor {
    engine: Arc<Engine>,
    names: Vec<VolumeName>,
    user: String,
    definition: Arc<Definition>,
    look: u64,
    shares: Shares,
}

impl Drop for MountedFor {
    fn drop(&mut self) {
        let (volumes, names) = (self.engine.volumes.clone(), std::mem::take(&mut self.names));
        let user = std::mem::take(&mut self.user);
        // Detached: whoever looked does not wait for it.
        let (engine, definition, look) = (self.engine.clone(), self.definition.clone(), self.look);
        tokio::spawn(async move { engine.unmount_shares(&definition, look).await });
        tokio::task::spawn_blocking(move || {
            for name in names {
                if let Err(error) = volumes.unmount(&name, &user) {
                    tracing::warn!("volume {name} stays mounted: {error}");
                }
            }
        });
    }
}

impl Engine {
    /// Starts a helper for the container's files.
    pub(crate) async fn files(
        self: &Arc<Self>,
        container: &Container,
        job: Job,
    ) -> Result<Files, EngineError> {
        let here = container.hold_files().await;
        let definition = container.definition();
        let life = container.status().life;
        if matches!(life.state, State::Removing | State::Removed) {
            return Err(EngineError::Conflict(format!("container {} is being removed", definition.id)));
        }
        let shim = match life.pid() {
            Some(_) => Some(self.shim_process(&definition).await?),
            None => None,
        };
        let looks_at_volumes = matches!(job, Job::Stat(_) | Job::Get(_) | Job::Put { .. });
        let volumes = match shim {
            None if looks_at_volumes => {
                let mut mounted = self.mount_for_a_look(&definition).await?;
                mounted.shares = self.mount_shares(&definition, mounted.look, Scope::All).await?;
                Some(mounted)
            }
            _ => None,
        };
        let shares = volumes.as_ref().map(|mounted| &mounted.shares);
        let mut files =
            self.start_helper(&definition, shim, shares.unwrap_or(&Shares::default()), job).await?;
        (files._here, files._volumes) = (Some(here), volumes);
        Ok(files)
    }

    /// Fills the new container's empty volumes from its image.
    pub(super) async fn populate(self: &Arc<Self>, definition: &Definition) -> Result<(), EngineError> {
        let fills = |mount: &&MountPoint| matches!(mount.what, Mounted::Volume { copies: true, .. });
        if !definition.mounts.iter().any(|mount| fills(&mount)) {
            return Ok(());
        }
        let mut volumes = self.mount_for_a_look(definition).await?;
        // The start meets the same obstacle and tells of it, as in moby where the image has nothing to fill it with.
        let Ok(shares) = self.mount_shares(definition, volumes.look, Scope::Filled).await else {
            return Ok(());
        };
        volumes.shares = shares;
        let empty = definition.mounts.iter().filter(fills).filter_map(|mount| {
            let Mounted::Volume { subpath, .. } = &mount.what else { return None };
            Some(Emptiness {
                destination: PathBuf::from(&mount.destination),
                volume: self.data_of(mount, &volumes.shares)?,
                subpath: PathBuf::from(subpath),
            })
        });
        let empty = empty.collect();
        let mut files = self.start_helper(definition, None, &volumes.shares, Job::Populate(empty)).await?;
        files._volumes = Some(volumes);
        files.done(COPY_DEADLINE).await.map_err(|error| match error {
            FilesError::Engine(error) => error,
            FilesError::Refused(_, message) => {
                EngineError::Internal(format!("failed to populate volume: {message}"))
            }
        })
    }

    async fn start_helper(
        self: &Arc<Self>,
        definition: &Definition,
        shim: Option<i32>,
        shares: &Shares,
        job: Job,
    ) -> Result<Files, EngineError> {
        let folder = self.layout().container(&definition.id);
        for needed in ["bundle/rootfs", "upper", "work"] {
            std::fs::create_dir_all(folder.join(needed)).map_err(EngineError::system("make a folder"))?;
        }
        let plan = Plan {
            root: self.root_of(definition, &folder),
            shim,
            sources: self.served(definition, &folder.join("bundle"), shares)?.sources,
            read_only: definition
                .mounts
                .iter()
                .filter(|mount| !mount.writable)
                .map(|mount| PathBuf::from(&mount.destination))
                .collect(),
            read_only_root: definition.host.readonly_rootfs == Some(true),
            job,
        };
        let failed = || EngineError::system("look into a container's files");
        let mut child = Command::new(self.program())
            .arg("files")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed())?;
        let gone = || EngineError::Internal("a helper has no pipes".to_owned());
        let (mut input, output) =
            (child.stdin.take().ok_or_else(gone)?, child.stdout.take().ok_or_else(gone)?);
        within(HELPER_DEADLINE, input.write_all(&message::encode(&plan))).await.map_err(failed())?;
        Ok(Files { child, input: Some(input), output, _here: None, _volumes: None })
    }

    /// The overlay of a container.
    pub(super) fn root_of(&self, definition: &Definition, folder: &Path) -> Overlay {
        Overlay {
            lower: self.layers().lower_dirs(&definition.image.diff_ids),
            upper: folder.join("upper"),
            work: folder.join("work"),
            target: folder.join("bundle/rootfs"),
        }
    }

    /// The process that listens on the container's socket: its shim, in whose mount namespace its root is.
    async fn shim_process(&self, definition: &Definition) -> Result<i32, EngineError> {
        let socket = self.layout().shim_socket(&definition.id);
        let asked = async { UnixStream::connect(socket).await?.peer_cred() };
        let pid = asked.await.map_err(EngineError::system("reach the container's shim"))?.pid();
        pid.ok_or_else(|| EngineError::Internal("the container's shim has no process id".to_owned()))
    }

    async fn mount_for_a_look(self: &Arc<Self>, definition: &Definition) -> Result<MountedFor, EngineError> {
        // Told apart from the container itself, and from others who look.
        static LOOKS: AtomicU64 = AtomicU64::new(CONTAINER_ITSELF + 1);
        let look = LOOKS.fetch_add(1, Ordering::Relaxed);
        let user = format!("{}/{look}", definition.id);
        let mut mounted = MountedFor {
            engine: self.clone(),
            names: Vec::new(),
            user,
            definition: Arc::new(definition.clone()),
            look,
            shares: Shares::default(),
        };
        for mount in &definition.mounts {
            if let Mounted::Volume { name, .. } = &mount.what {
                self.mount_volume(name, &mounted.user).await?;
                mounted.names.push(name.clone());
            }
        }
        Ok(mounted)
    }
}

/// Why a look came to nothing.
#[derive(Debug)]
pub(crate) enum FilesError {
    /// The helper says why.
    Refused(FailureKind, String),
    /// The helper is to blame, or the machine.
    Engine(EngineError),
}

impl FilesError {
    /// With what the client calls path and container.
    pub(crate) fn about(self, path: &str, container: &str) -> EngineError {
        match self {
            Self::Engine(error) => error,
            Self::Refused(FailureKind::NotFound, _) => {
                EngineError::NoSuchFile { path: path.to_owned(), container: container.to_owned() }
            }
            Self::Refused(FailureKind::Invalid, message) => EngineError::Invalid(message),
            Self::Refused(FailureKind::Other, message) => EngineError::Internal(message),
        }
    }
}

impl From<FilesError> for EngineError {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Engine(error) => error,
            FilesError::Refused(FailureKind::Invalid, message) => Self::Invalid(message),
            FilesError::Refused(_, message) => Self::Internal(message),
        }
    }
}

impl Files {
    /// What is at the path that was asked for.
    pub(crate) async fn found(&mut self) -> Result<PathStat, FilesError> {
        self.input = None;
        match self.reply(HELPER_DEADLINE).await? {
            Reply::Found(stat) => Ok(stat),
            other => Err(out_of_turn(other)),
        }
    }

    /// That it is done, or begins.
    pub(crate) async fn begun(&mut self) -> Result<(), FilesError> {
        self.done(HELPER_DEADLINE).await
    }

    /// That all that was sent is unpacked.
    pub(crate) async fn unpacked(&mut self) -> Result<(), FilesError> {
        self.done(COPY_DEADLINE).await
    }

    async fn done(&mut self, deadline: Duration) -> Result<(), FilesError> {
        self.input = None;
        match self.reply(deadline).await? {
            Reply::Done => Ok(()),
            other => Err(out_of_turn(other)),
        }
    }

    /// Sends some of a tar. `false` where the helper takes no more: its reply says why.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<bool, FilesError> {
        let Some(input) = &mut self.input else { return Ok(false) };
        match within(HELPER_DEADLINE, input.write_all(bytes)).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(FilesError::Engine(EngineError::system("write to a container's files")(error))),
        }
    }

    /// Some of what follows the reply; empty at its end. An end that is none, the helper having failed, is an error.
    pub(crate) async fn piece(&mut self) -> io::Result<Bytes> {
        let mut piece = BytesMut::with_capacity(PIECE);
        within(HELPER_DEADLINE, self.output.read_buf(&mut piece)).await?;
        if piece.is_empty() {
            let ended = within(HELPER_DEADLINE, self.child.wait()).await?;
            if !ended.success() {
                return Err(io::Error::other(format!("the helper ended with {ended}")));
            }
        }
        Ok(piece.freeze())
    }

    /// Passes all that follows the reply to a client who keeps taking it, and then does `after`.
    pub(crate) fn into_pieces(
        mut self,
        after: impl FnOnce() + Send + 'static,
    ) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(4);
        // Ends with its client: a send into a channel without receiver is an error.
        tokio::spawn(async move {
            loop {
                let piece = self.piece().await;
                let (end, failed) = (piece.as_ref().is_ok_and(Bytes::is_empty), piece.is_err());
                if end {
                    return after();
                }
                if !matches!(timeout(CLIENT_DEADLINE, sender.send(piece)).await, Ok(Ok(()))) || failed {
                    return;
                }
            }
        });
        receiver
    }

    async fn reply(&mut self, deadline: Duration) -> Result<Reply, FilesError> {
        let read = within(deadline, read_message(&mut self.output)).await;
        read.map_err(|error| FilesError::Engine(EngineError::system("look into a container's files")(error)))
    }
}

fn out_of_turn(reply: Reply) -> FilesError {
    match reply {
        Reply::Failed { kind, message } => FilesError::Refused(kind, message),
        _ => FilesError::Engine(EngineError::Internal("a helper answered out of turn".to_owned())),
    }
}

/// One message and not a byte more: a tar may follow.
async fn read_message<T: DeserializeOwned>(reader: &mut ChildStdout) -> io::Result<T> {
    let mut buffer = Vec::new();
    loop {
        let start = buffer.len();
        buffer.resize(start + message::wanting(&buffer).map_err(io::Error::other)?, 0);
        reader.read_exact(&mut buffer[start..]).await?;
        if let Some(message) = message::take(&mut buffer).map_err(io::Error::other)? {
            return Ok(message);
        }
    }
}

async fn within<T>(deadline: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(deadline, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
