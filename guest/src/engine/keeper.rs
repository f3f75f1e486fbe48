//! The task that owns one container. It alone changes the container's state: requests, exits and pauses come in
//! one after the other, the rules (`state`) say what follows, and it is done here.

mod change;
mod networks;
mod pause;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{RwLock, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::container::{Container, Joining, Purpose, REQUESTS, Request, Signal, Start, Starter};
use super::health;
use super::launch::{self, LaunchFailure, Launched};
use super::mounts::AnonymousVolumes;
use super::records::{self, Definition, Status};
use super::state::{Action, Event, Refusal, State};
use super::{Engine, EngineError};
use crate::shim::client::{ShimClient, ShimError};
use crate::shim::protocol::ExitStatus;

/// A container whose shim was killed: nobody knows how it ended. Docker's code for that.
const EXIT_UNKNOWN: i32 = 255;

/// Clients who may be attached to a container that does not run yet.
const WAITING_CLIENTS: usize = 128;

type Exit = Pin<Box<dyn Future<Output = Result<ExitStatus, ShimError>> + Send>>;

/// One container's task.
pub(super) struct Keeper {
    engine: Arc<Engine>,
    /// As of the last change.
    definition: Arc<Definition>,
    /// Where others see it.
    definitions: watch::Sender<Arc<Definition>>,
    status: watch::Sender<Status>,
    requests: mpsc::Receiver<Request>,
    /// While it runs.
    shim: Option<ShimClient>,
    /// Resolves when the running container ends.
    exit: Option<Exit>,
    /// When the pause before a restart is over.
    back_off: Option<Instant>,
    /// Clients who wait for the next start to get its first output.
    attaches: Vec<Joining>,
    /// A client's restart is under way: `--rm` waits.
    keep_after_exit: bool,
    /// Its health check, which ends with this task.
    _health: Option<AbortOnDropHandle<()>>,
    /// Held alone while it is started or removed: nobody looks at its files meanwhile.
    files: Arc<RwLock<()>>,
}

/// Starts the task of a container that is made or was found. `adopted` is the shim that an earlier engine
/// started for it.
pub(super) fn spawn(
    engine: Arc<Engine>,
    definition: Definition,
    status: Status,
    adopted: Option<ShimClient>,
) -> Container {
    let definition = Arc::new(definition);
    let (definitions, shown) = watch::channel(definition.clone());
    let (status, watcher) = watch::channel(status);
    let (sender, requests) = mpsc::channel(REQUESTS);
    let exit = adopted.clone().map(exit_of);
    let files = Arc::<RwLock<()>>::default();
    let (health, seen) = watch::channel(None);
    let container = Container::new(shown, watcher, seen, sender, files.clone());
    let keeper = Keeper {
        engine: engine.clone(),
        definition,
        definitions,
        status,
        requests,
        shim: adopted,
        exit,
        back_off: None,
        attaches: Vec::new(),
        keep_after_exit: false,
        files,
        _health: health::watch_over(engine, container.clone(), health),
    };
    tokio::spawn(keeper.run());
    container
}

fn exit_of(shim: ShimClient) -> Exit {
    Box::pin(async move { shim.wait().await })
}

/// What woke the task.
enum Woken {
    By(Option<Request>),
    Exit(Result<ExitStatus, ShimError>),
    BackOffOver,
}

impl Keeper {
    async fn run(mut self) {
        while self.status.borrow().life.state != State::Removed {
            let woken = tokio::select! {
                request = self.requests.recv() => Woken::By(request),
                exit = next_exit(&mut self.exit) => Woken::Exit(exit),
                () = end_of(self.back_off) => Woken::BackOffOver,
            };
            match woken {
                // Nobody can ask for anything any more: the engine ends.
                Woken::By(None) => return,
                Woken::By(Some(request)) => self.answer(request).await,
                Woken::Exit(exit) => self.exited(exit).await,
                Woken::BackOffOver => {
                    self.back_off = None;
                    self.follow(Event::BackOffOver).await;
                }
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        // A client that went away does not need its answer.
        match request {
            Request::Start(starter, answer) => drop(answer.send(self.start(starter).await)),
            Request::Signal(signal, answer) => drop(answer.send(self.signal(signal).await)),
            Request::Resize(size, answer) => {
                let resized = match self.running_shim() {
                    Ok(shim) => shim.resize(size).await.map_err(EngineError::from),
                    Err(error) => Err(error),
                };
                drop(answer.send(resized));
            }
            Request::Attach(client, joining) => {
                self.attach(client).await;
                drop(joining);
            }
            Request::Remove(anonymous, answer) => drop(answer.send(self.remove(anonymous).await)),
            Request::Pause(answer) => drop(answer.send(self.pause().await)),
            Request::Unpause(answer) => drop(answer.send(self.unpause())),
            Request::Rename(name, answer) => drop(answer.send(self.rename(&name).await)),
            Request::Connect(network, wish, answer) => {
                drop(answer.send(self.connect(&network, *wish).await));
            }
            Request::Disconnect(network, answer) => drop(answer.send(self.disconnect(&network).await)),
            Request::Update(wish, answer) => drop(answer.send(self.update(&wish).await)),
            Request::KeepAfterExit(keep) => self.keep_after_exit = keep,
            Request::ShutDown(answer) => {
                self.back_off = None;
                self.follow(Event::ShutDown).await;
                drop(answer.send(Ok(())));
            }
        }
    }

    async fn start(&mut self, starter: Starter) -> Result<Start, EngineError> {
        if self.engine.is_stopping() {
            return Err(EngineError::Unavailable("the machine is stopping".to_owned()));
        }
        self.keep_after_exit = false;
        let event = match starter {
            Starter::Client => Event::Start,
            Starter::Policy => Event::StartAgain,
        };
        match self.apply(event) {
            Ok(Action::Launch) => self.launch().await.map(|()| Start::Now),
            Ok(_) | Err(Refusal::AlreadyRunning) => Ok(Start::AlreadyRunning),
            Err(Refusal::Paused) => {
                Err(EngineError::Conflict("cannot start a paused container, try unpause instead".to_owned()))
            }
            Err(_) => {
                Err(EngineError::Conflict("container is marked for removal and cannot be started".to_owned()))
            }
        }
    }

    /// Carries out `Action::Launch`.
    async fn launch(&mut self) -> Result<(), EngineError> {
        let attaches = std::mem::take(&mut self.attaches);
        let alone = self.files.clone().write_owned().await;
        let launched = launch::launch(&self.engine, &self.definition, attaches).await;
        // What follows may be the container's removal, which takes it again.
        drop(alone);
        match launched {
            Ok(Launched { shim, pid, endpoints, ports }) => {
                self.exit = Some(exit_of(shim.clone()));
                self.shim = Some(shim);
                self.status.send_modify(|status| {
                    status.endpoints = endpoints;
                    status.ports = ports;
                });
                self.follow(Event::Started { pid, at: Utc::now() }).await;
                self.engine.look_for_listeners(&self.definition);
                self.tell_networks("connect");
                self.tell("start", []);
                Ok(())
            }
            Err(LaunchFailure { code, error }) => {
                self.follow(Event::StartFailed { code, message: error.to_string() }).await;
                Err(error)
            }
        }
    }

    async fn signal(&mut self, signal: Signal) -> Result<(), EngineError> {
        if signal.purpose == Purpose::End {
            let restarting = self.shim.is_none();
            self.follow(Event::Stop).await;
            if restarting && self.back_off.take().is_some() {
                return Ok(());
            }
        }
        let shim = self.running_shim()?;
        match shim.signal(signal.number, false).await {
            // It ended in this moment; its exit is on its way.
            Err(ShimError::Gone | ShimError::Container(_)) => {}
            other => other?,
        }
        if signal.purpose != Purpose::Tell && self.status.borrow().life.is_paused() {
            // It takes what was sent when it goes on.
            self.unpause()?;
        }
        self.tell("kill", [("signal", signal.number.to_string())]);
        Ok(())
    }

    fn running_shim(&self) -> Result<&ShimClient, EngineError> {
        self.shim.as_ref().ok_or_else(|| EngineError::NotRunning(self.definition.id.to_string()))
    }

    async fn attach(&mut self, client: Joining) {
        // Clients that lost patience while the container was not started.
        self.attaches.retain(|waiting| !waiting.answer.is_closed());
        match &self.shim {
            Some(shim) => launch::connect(shim, client).await,
            None if self.attaches.len() < WAITING_CLIENTS => self.attaches.push(client),
            None => {
                let message = "too many clients wait for the container to start".to_owned();
                drop(client.answer.send(Err(EngineError::Unavailable(message))));
                return;
            }
        }
        self.tell("attach", []);
    }

    async fn exited(&mut self, exit: Result<ExitStatus, ShimError>) {
        self.exit = None;
        let exit = exit.unwrap_or_else(|error| {
            tracing::warn!("{}: no exit status: {error}", self.definition.id.short());
            let unix_nanos = Utc::now().timestamp_nanos_opt().unwrap_or_default().unsigned_abs();
            ExitStatus { code: EXIT_UNKNOWN, oom_killed: false, unix_nanos }
        });
        // Before anyone learns of the exit: who does may remove or start the container at once.
        if let Some(shim) = self.shim.take()
            && let Err(error) = shim.forget().await
        {
            tracing::warn!("{}: its shim does not end: {error}", self.definition.id.short());
        }
        let Status { endpoints, ports, .. } = self.status.borrow().clone();
        self.engine.close_ports(&self.definition.id, &ports).await;
        self.engine.forget_names(&self.definition.id);
        self.engine.leave_networks(&endpoints).await;
        self.engine.unmount_volumes(&self.definition).await;
        self.engine.take_shared_memory(&self.definition);
        if exit.oom_killed {
            self.tell("oom", []);
        }
        let at = i64::try_from(exit.unix_nanos).map_or_else(|_| Utc::now(), DateTime::from_timestamp_nanos);
        let ran = self.status.borrow().life.started_at.map_or(0, |started| (at - started).num_seconds());
        self.tell("die", [("execDuration", ran.to_string()), ("exitCode", exit.code.to_string())]);
        self.tell_networks("disconnect");
        self.status.send_modify(|status| {
            status.endpoints.clear();
            status.ports.clear();
        });
        self.follow(Event::Exited { code: exit.code, oom_killed: exit.oom_killed, at }).await;
    }

    async fn remove(&mut self, anonymous: AnonymousVolumes) -> Result<(), EngineError> {
        match self.apply(Event::Remove) {
            Ok(_) => self.delete(anonymous).await,
            Err(Refusal::StillRunning) if self.status.borrow().life.is_paused() => {
                Err(EngineError::Conflict("container is paused and must be unpaused first".to_owned()))
            }
            Err(Refusal::StillRunning) => Err(EngineError::Conflict(format!(
                "container is {}: stop the container before removing or force remove",
                self.status.borrow().life.word()
            ))),
            Err(_) => Err(EngineError::Conflict(format!(
                "removal of container {} is already in progress",
                self.definition.id
            ))),
        }
    }

    /// Carries out `Action::Delete`.
    async fn delete(&mut self, anonymous: AnonymousVolumes) -> Result<(), EngineError> {
        let _alone = self.files.clone().write_owned().await;
        let folder = self.engine.layout().container(&self.definition.id);
        let removed = tokio::task::spawn_blocking(move || records::remove(&folder)).await;
        let removed = removed.unwrap_or_else(|panicked| Err(std::io::Error::other(panicked)));
        if let Err(cause) = removed {
            self.note(Event::RemoveFailed);
            return Err(EngineError::System { doing: "unable to remove filesystem".to_owned(), cause });
        }
        self.engine.release_mounts(&self.definition, &self.definition.mounts, anonymous).await;
        // Of a container whose end nobody saw.
        self.engine.take_shared_memory(&self.definition);
        // The name is free before anybody who waits for the removal hears of it.
        self.engine.forget(&self.definition);
        self.tell("destroy", []);
        self.note(Event::Removed);
        Ok(())
    }

    /// Applies an event that cannot be refused, and does what follows from it.
    async fn follow(&mut self, event: Event) {
        match self.apply(event) {
            Ok(Action::Pause(pause)) => {
                if self.engine.is_stopping() {
                    self.note(Event::ShutDown);
                } else {
                    self.back_off = Some(after(pause));
                }
            }
            // Boxed: launching can fail, which is followed in turn.
            Ok(Action::Launch) => {
                if let Err(error) = Box::pin(self.launch()).await {
                    tracing::warn!("{} does not start again: {error}", self.definition.id.short());
                }
            }
            Ok(Action::Settled) => {
                self.back_off = None;
                self.attaches.clear();
                if self.definition.removes_itself()
                    && !self.keep_after_exit
                    && let Err(error) = self.remove(AnonymousVolumes::Remove).await
                {
                    tracing::warn!("{} is not removed after its end: {error}", self.definition.id.short());
                }
            }
            Ok(Action::Rest | Action::Delete) | Err(_) => {}
        }
    }

    /// Applies an event that neither can be refused nor asks for anything.
    fn note(&self, event: Event) {
        let _ = self.apply(event);
    }

    /// Applies an event, keeps the new state, and shows it to all who watch.
    fn apply(&self, event: Event) -> Result<Action, Refusal> {
        let mut status = self.status.borrow().clone();
        let action = status.life.apply(event, self.definition.restart_policy())?;
        let folder = self.engine.layout().container(&self.definition.id);
        if !matches!(status.life.state, State::Removed)
            && let Err(error) = records::write_status(&folder, &status)
        {
            // A full disk must not keep containers from ending; a restarted engine asks their shims.
            tracing::warn!("{}: its state cannot be kept: {error}", self.definition.id.short());
        }
        self.status.send_replace(status);
        Ok(action)
    }

    /// Writes down how it is.
    fn keep_status(&self) {
        let folder = self.engine.layout().container(&self.definition.id);
        if let Err(error) = records::write_status(&folder, &self.status.borrow()) {
            // As in `apply`.
            tracing::warn!("{}: its state cannot be kept: {error}", self.definition.id.short());
        }
    }

    fn tell<const N: usize>(&self, action: &str, more: [(&str, String); N]) {
        self.engine.tell_container(&self.definition, action, more);
    }
}

fn after(pause: Duration) -> Instant {
    Instant::now() + pause
}

async fn next_exit(exit: &mut Option<Exit>) -> Result<ExitStatus, ShimError> {
    match exit {
        Some(exit) => exit.await,
        None => pending().await,
    }
}

async fn end_of(pause: Option<Instant>) {
    match pause {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}
