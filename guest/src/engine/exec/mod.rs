//! Further processes of running containers (`exec`). They are asked for first and started later, once; the
//! container's shim runs them, and a task of ours waits for each one's end.

mod stage;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holm_api::{ExecId, models};
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::timeout;

use super::container::{Attached, Container};
use super::state::State;
use super::{Engine, EngineError, launch, names};
use crate::container::process::{environment, folder};
use crate::shim::client::{RunningExec, ShimClient, ShimError, Streams};
use crate::shim::protocol::{ExecConfig, Failure, FailureKind, WindowSize};
use stage::Refusal;

pub(crate) use stage::Stage;
pub(super) use table::Execs;

/// Of a process whose shim was killed, and it with it.
const EXIT_KILLED: i32 = 137;
/// Docker's code of a process that could not be started, where nothing else is known.
const EXIT_NOT_STARTED: i32 = 126;

/// How long a client's wish for another size waits for a start, as in moby.
const START_DEADLINE: Duration = Duration::from_secs(10);

/// What a client wants to run.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExecWish {
    /// Program and arguments; at least one.
    pub(crate) command: Vec<String>,
    /// Beside the container's own, or in their place.
    pub(crate) env: Vec<String>,
    /// Empty: the container's.
    pub(crate) user: String,
    /// Empty: the container's.
    pub(crate) folder: String,
    /// With all capabilities.
    pub(crate) privileged: bool,
    /// On a terminal.
    pub(crate) tty: bool,
    /// The terminal's first size, unless the start says otherwise.
    pub(crate) size: Option<WindowSize>,
    /// What whoever starts it gets.
    pub(crate) streams: Streams,
    /// What detaches a client, as typed: empty for Docker's own.
    pub(crate) detach_keys: String,
}

/// One further process.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: ExecId,
    pub(crate) container: Container,
    pub(crate) wish: ExecWish,
    stage: watch::Sender<Stage>,
}

impl Exec {
    /// How far it is.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Resolves when it has ended and everybody may know how.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stage = self.stage.subscribe();
        async move { drop(stage.wait_for(|stage| matches!(stage, Stage::Ended { .. })).await) }
    }

    fn ended_at(&self) -> Option<Instant> {
        match self.stage() {
            Stage::Ended { at, .. } => Some(at),
            _ => None,
        }
    }

    fn claim(&self) -> Result<(), EngineError> {
        let mut claimed = Ok(());
        self.stage.send_modify(|stage| claimed = stage.claim());
        claimed.map_err(|refusal| self.refused(refusal))
    }

    fn refused(&self, refusal: Refusal) -> EngineError {
        let what = match refusal {
            Refusal::AlreadyRunning => "is already running",
            Refusal::AlreadyRan => "has already run",
        };
        EngineError::Conflict(format!("exec command {} {what}", self.id))
    }

    /// In events.
    /// The program, a space, and its arguments, if any.
    fn command_line(&self) -> String {
        let (program, arguments) = self.wish.command.split_first().map_or(("", &[][..]), |(p, a)| (p, a));
        format!("{program} {}", arguments.join(" "))
    }
}

impl Engine {
    /// Notes what is to be run in a running container.
    pub(crate) async fn create_exec(
        &self,
        container: &Container,
        wish: ExecWish,
    ) -> Result<Arc<Exec>, EngineError> {
        active(container)?;
        if !wish.user.is_empty() {
            let known = self.shim_of(container).check_user(wish.user.clone()).await;
            known.map_err(|error| refused(container, error, EngineError::Invalid))?;
        }
        let id = names::new_exec_id()?;
        let exec = Arc::new(Exec { id, container: container.clone(), wish, stage: watch::Sender::default() });
        self.execs.add(exec.clone(), Instant::now())?;
        self.tell_exec(&exec, &format!("exec_create: {}", exec.command_line()), []);
        Ok(exec)
    }

    /// The one with this id, if it could still be started or asked something.
    pub(crate) fn active_exec(&self, id: &str) -> Result<Arc<Exec>, EngineError> {
        let exec = self.find_exec(id)?;
        active(&exec.container)?;
        Ok(exec)
    }

    /// The one with this id.
    pub(crate) fn find_exec(&self, id: &str) -> Result<Arc<Exec>, EngineError> {
        self.execs.find(id).ok_or_else(|| EngineError::NoSuchExec(id.to_owned()))
    }

    /// Those of a container that have not ended.
    pub(crate) fn open_execs(&self, container: &Container) -> Vec<ExecId> {
        self.execs.open_of(container.id())
    }

    /// Whether a start could be tried.
    pub(crate) fn check_startable(&self, exec: &Exec) -> Result<(), EngineError> {
        exec.stage().check().map_err(|refusal| exec.refused(refusal))
    }

    /// Starts it. Returns its streams where any are wanted. Goes on when the client does not wait.
    pub(crate) async fn start_exec(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        streams: Streams,
        size: Option<WindowSize>,
    ) -> Result<Option<Attached>, EngineError> {
        exec.claim()?;
        let (engine, exec) = (self.clone(), exec.clone());
        let starting = tokio::spawn(async move { engine.start_claimed(&exec, streams, size).await });
        starting.await.unwrap_or_else(|error| Err(EngineError::Internal(error.to_string())))
    }

    async fn start_claimed(
        self: &Arc<Self>,
        exec: &Arc<Exec>,
        streams: Streams,
        size: Option<WindowSize>,
    ) -> Result<Option<Attached>, EngineError> {
        self.tell_exec(exec, &format!("exec_start: {}", exec.command_line()), []);
        let started = async {
            let shim = self.shim_of(&exec.container);
            let config = config(self, &exec.container, exec.id.clone(), &exec.wish, size)?;
            let attached = if streams == Streams::default() {
                None
            } else {
                let (output, input) = shim.attach_exec(exec.id.clone(), streams).await.map_err(gone(exec))?;
                Some(Attached { output, input, log_end: None })
            };
            let (pid, running) = shim.exec(config).await.map_err(gone(exec))?;
            Ok((pid, running, attached))
        };
        match started.await {
            Ok((pid, running, attached)) => {
                exec.stage.send_modify(|stage| stage.started(pid));
                tokio::spawn(self.clone().see_end(exec.clone(), running));
                Ok(attached)
            }
            Err(error) => {
                // Nobody is told that it died: it never lived.
                exec.stage.send_modify(|stage| stage.ended(code_of(&error), Instant::now()));
                Err(error)
            }
        }
    }

    async fn see_end(self: Arc<Self>, exec: Arc<Exec>, running: RunningExec) {
        let code = running.wait().await.map_or(EXIT_KILLED, |status| status.code);
        self.ended(&exec, code);
    }

    fn ended(&self, exec: &Exec, code: i32) {
        exec.stage.send_modify(|stage| stage.ended(code, Instant::now()));
        self.tell_exec(exec, "exec_die", [("exitCode", code.to_string())]);
    }

    /// Forgets a process that no client knows of.
    pub(super) fn forget_exec(&self, exec: &Exec) {
        self.execs.remove(&exec.id);
    }

    /// Gives its terminal another size.
    pub(crate) async fn resize_exec(&self, exec: &Exec, size: WindowSize) -> Result<(), EngineError> {
        // A client tells its window's size while the process is being started.
        let mut stage = exec.stage.subscribe();
        let started = stage.wait_for(|stage| !matches!(stage, Stage::Created | Stage::Starting));
        match timeout(START_DEADLINE, started).await {
            Err(_) => {
                return Err(EngineError::Internal("timeout waiting for exec session ready".to_owned()));
            }
            Ok(Ok(stage)) if matches!(*stage, Stage::Running { .. }) => {}
            Ok(_) => return Err(EngineError::Invalid("exec process is not started".to_owned())),
        }
        let resized = self.shim_of(&exec.container).resize_exec(exec.id.clone(), size).await;
        resized.map_err(|error| refused(&exec.container, error, EngineError::Conflict))
    }

    /// Ends it.
    pub(super) async fn kill_exec(&self, exec: &Exec) -> Result<(), EngineError> {
        let killed = self.shim_of(&exec.container).signal_exec(exec.id.clone(), Signal::SIGKILL as i32).await;
        killed.map_err(|error| refused(&exec.container, error, EngineError::Conflict))
    }

    /// A client has left it by its keys.
    pub(crate) fn tell_exec_detach(&self, exec: &Exec) {
        self.tell_exec(exec, "exec_detach", []);
    }

    fn tell_exec<const N: usize>(&self, exec: &Exec, action: &str, more: [(&str, String); N]) {
        let definition = exec.container.definition();
        let id = ("execID", exec.id.to_string());
        self.tell_container_all(&definition, action, std::iter::once(id).chain(more));
    }

    fn shim_of(&self, container: &Container) -> ShimClient {
        let folder = self.layout.container(container.id());
        let socket = self.layout.shim_socket(container.id());
        ShimClient::new(&folder.join("bundle"), &socket, &launch::exit_file(&folder))
    }
}

/// Only in a container that runs can anything be run.
fn active(container: &Container) -> Result<(), EngineError> {
    let (id, life) = (container.id(), container.status().life);
    match life.state {
        State::Restarting => Err(EngineError::Conflict(format!(
            "Container {id} is restarting, wait until the container is running"
        ))),
        State::Running { .. } => Ok(()),
        _ => Err(EngineError::NotRunning(id.to_string())),
    }
}

/// What the shim is told.
fn config(
    engine: &Engine,
    container: &Container,
    id: ExecId,
    wish: &ExecWish,
    size: Option<WindowSize>,
) -> Result<ExecConfig, EngineError> {
    let definition = container.definition();
    let linked = engine.linked(&definition)?;
    let own = &definition.config;
    let or_own = |wish: &str, own: &Option<String>| match wish {
        "" => own.clone(),
        wish => Some(wish.to_owned()),
    };
    let merged = models::ContainerConfig {
        hostname: own.hostname.clone(),
        tty: Some(wish.tty),
        env: Some(
            linked.environment.iter().chain(own.env.iter().flatten()).chain(&wish.env).cloned().collect(),
        ),
        working_dir: or_own(&wish.folder, &own.working_dir),
        ..Default::default()
    };
    let cwd: PathBuf = match folder(&merged) {
        Ok(folder) => folder,
        Err(_) => {
            let message = "OCI runtime exec failed: exec failed: Cwd must be an absolute path: unknown";
            return Err(EngineError::Start(Failure {
                kind: FailureKind::Other,
                message: message.to_owned(),
            }));
        }
    };
    let whole = WindowSize { rows: 0, columns: 0 };
    Ok(ExecConfig {
        id,
        args: wish.command.clone(),
        env: environment(&merged)?,
        cwd,
        user: or_own(&wish.user, &own.user).unwrap_or_default(),
        privileged: wish.privileged,
        terminal: wish.tty.then(|| size.or(wish.size).unwrap_or(whole)),
        stdin: wish.streams.stdin,
    })
}

/// What a shim's refusal means to the client.
fn refused(
    container: &Container,
    error: ShimError,
    of_words: impl FnOnce(String) -> EngineError,
) -> EngineError {
    match error {
        ShimError::Container(failure) => of_words(failure.message),
        ShimError::Gone => EngineError::NotRunning(container.id().to_string()),
        other => other.into(),
    }
}

/// For `map_err`: a shim that is gone has taken the container along.
fn gone(exec: &Exec) -> impl Fn(ShimError) -> EngineError {
    |error| {
        match error {
        ShimError::Gone => EngineError::NotRunning(exec.container.id().to_string()),
        ShimError::TooLong => EngineError::Start(Failure {
            kind: FailureKind::NotExecutable,
            message: "OCI runtime exec failed: exec failed: unable to start container process: argument list too long: unknown".to_owned(),
        }),
        other => other.into(),
    }
    }
}

fn code_of(error: &EngineError) -> i32 {
    match error {
        EngineError::Start(Failure { kind: FailureKind::NotFound, .. }) => 127,
        EngineError::Start(Failure { kind: FailureKind::Other, .. }) => 128,
        _ => EXIT_NOT_STARTED,
    }
}
