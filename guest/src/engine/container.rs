//! A container as everybody but its own task sees it: what it is, how it is right now, and what can be asked of
//! it. The task that owns it is `keeper`.

use std::sync::Arc;

use holm_api::ContainerId;
use holm_api::models::{EndpointSettings, HostConfig};
use tokio::sync::{OwnedRwLockReadGuard, RwLock, mpsc, oneshot, watch};

use super::EngineError;
use super::health::Health;
use super::mounts::AnonymousVolumes;
use super::networks::Network;
use super::records::{Definition, Status};
use crate::shim::client::{Output, Streams};
use crate::shim::protocol::{LogEnd, WindowSize};

/// Requests that may wait while the container's task is busy starting or removing it.
pub(super) const REQUESTS: usize = 64;

/// Where a request's outcome is awaited.
pub(super) type Answer<T> = oneshot::Sender<Result<T, EngineError>>;

/// What can be asked of a container's task.
#[derive(Debug)]
pub(super) enum Request {
    /// Start it, for a client or because its policy asks for it. Answered when it runs, or why it does not.
    Start(Starter, Answer<Start>),
    /// Send a signal.
    Signal(Signal, Answer<()>),
    /// Give its terminal another size.
    Resize(WindowSize, Answer<()>),
    /// Connect to its streams, now or when it next starts. The last one is dropped when it is connected, or waits.
    Attach(Joining, oneshot::Sender<()>),
    /// Remove it, unless it runs.
    Remove(AnonymousVolumes, Answer<()>),
    /// Hold all of its processes still.
    Pause(Answer<()>),
    /// Let them go on.
    Unpause(Answer<()>),
    /// Give it another name.
    Rename(String, Answer<()>),
    /// Put it on a network.
    Connect(Arc<Network>, Box<EndpointSettings>, Answer<()>),
    /// Take it off one, by its name.
    Disconnect(String, Answer<()>),
    /// Change its limits and its restart policy.
    Update(Box<HostConfig>, Answer<()>),
    /// Whether `--rm` holds: not between the two halves of a restart by a client.
    KeepAfterExit(bool),
    /// The machine stops: no restarts from here on.
    ShutDown(Answer<()>),
}

/// Who starts a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starter {
    /// A client: earlier stops and restarts are forgotten.
    Client,
    /// Its restart policy, at the engine's start.
    Policy,
}

/// A signal for a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signal {
    /// By number.
    pub(crate) number: i32,
    /// Who wants what.
    pub(crate) purpose: Purpose,
}

/// Why a signal is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client wants the container to end, so its restart policy rests.
    End,
    /// A client tells it something.
    Tell,
    /// The machine stops.
    ShutDown,
}

/// What a start came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It runs now.
    Now,
    /// It did already.
    AlreadyRunning,
}

/// A client that is to be connected to a container's streams.
#[derive(Debug)]
pub(super) struct Joining {
    /// Which of them.
    pub(super) streams: Streams,
    /// From where on.
    pub(super) begin: Begin,
    /// Where the outcome is awaited.
    pub(super) answer: Answer<Attached>,
}

/// Where what an attached client reads begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With what is written next.
    Now,
    /// Where the log ends, which the client reads before.
    AfterLog,
}

/// A client's connection to a container's streams.
pub(crate) struct Attached {
    /// What the container writes.
    pub(crate) output: Output,
    /// What it reads.
    pub(crate) input: tokio::net::unix::OwnedWriteHalf,
    /// How far the log goes that is to be read before; `None` where there is none, or it was not asked for.
    pub(crate) log_end: Option<LogEnd>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Attached")
    }
}

/// Reaches one container. Lives as long as anybody holds it; the container may be gone by then.
#[derive(Clone, Debug)]
pub(crate) struct Container(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    id: ContainerId,
    definition: watch::Receiver<Arc<Definition>>,
    status: watch::Receiver<Status>,
    health: watch::Receiver<Option<Health>>,
    requests: mpsc::Sender<Request>,
    /// Held by all who look at its files, and alone by whoever starts or removes it.
    files: Arc<RwLock<()>>,
}

impl Container {
    pub(super) fn new(
        definition: watch::Receiver<Arc<Definition>>,
        status: watch::Receiver<Status>,
        health: watch::Receiver<Option<Health>>,
        requests: mpsc::Sender<Request>,
        files: Arc<RwLock<()>>,
    ) -> Self {
        let id = definition.borrow().id.clone();
        Self(Arc::new(Handle { id, definition, status, health, requests, files }))
    }

    /// Its id.
    pub(crate) fn id(&self) -> &ContainerId {
        &self.0.id
    }

    /// What it is at this moment: a client may rename it or change its limits.
    pub(crate) fn definition(&self) -> Arc<Definition> {
        self.0.definition.borrow().clone()
    }

    /// Keeps it from starting, and from going, while somebody looks at its files.
    pub(super) async fn hold_files(&self) -> OwnedRwLockReadGuard<()> {
        self.0.files.clone().read_owned().await
    }

    /// How it is at this moment.
    pub(crate) fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// What its health check makes of it; `None` where it has none, or never ran.
    pub(crate) fn health(&self) -> Option<Health> {
        self.0.health.borrow().clone()
    }

    /// How it is, now and after each change. A slow watcher sees the newest state, not each.
    pub(crate) fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.clone()
    }

    /// Starts it.
    pub(crate) async fn start(&self) -> Result<Start, EngineError> {
        self.ask(|answer| Request::Start(Starter::Client, answer)).await
    }

    /// Starts it as its policy asks.
    pub(super) async fn start_again(&self) -> Result<Start, EngineError> {
        self.ask(|answer| Request::Start(Starter::Policy, answer)).await
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<(), EngineError> {
        self.ask(|answer| Request::Signal(signal, answer)).await
    }

    /// Gives its terminal another size.
    pub(crate) async fn resize(&self, size: WindowSize) -> Result<(), EngineError> {
        self.ask(|answer| Request::Resize(size, answer)).await
    }

    /// Connects to its streams; to those of its next run where it does not run. The returned receiver ends
    /// without a value when that start fails or the container goes.
    pub(crate) async fn attach(
        &self,
        streams: Streams,
        begin: Begin,
    ) -> Result<oneshot::Receiver<Result<Attached, EngineError>>, EngineError> {
        let (answer, attached) = oneshot::channel();
        let (joining, joined) = oneshot::channel();
        self.send(Request::Attach(Joining { streams, begin, answer }, joining)).await?;
        // Whatever the container writes from here on is the client's to read.
        let _ = joined.await;
        Ok(attached)
    }

    /// Holds all of its processes still.
    pub(crate) async fn pause(&self) -> Result<(), EngineError> {
        self.ask(Request::Pause).await
    }

    /// Lets them go on.
    pub(crate) async fn unpause(&self) -> Result<(), EngineError> {
        self.ask(Request::Unpause).await
    }

    /// Gives it another name.
    pub(crate) async fn rename(&self, name: &str) -> Result<(), EngineError> {
        self.ask(|answer| Request::Rename(name.to_owned(), answer)).await
    }

    /// Changes what `wish` says of its limits and its restart policy. Checked by [`super::Engine::update`].
    pub(super) async fn update(&self, wish: HostConfig) -> Result<(), EngineError> {
        self.ask(|answer| Request::Update(Box::new(wish), answer)).await
    }

    /// Puts it on a network, at once where it runs.
    pub(super) async fn connect(
        &self,
        network: Arc<Network>,
        wish: EndpointSettings,
    ) -> Result<(), EngineError> {
        self.ask(|answer| Request::Connect(network, Box::new(wish), answer)).await
    }

    /// Takes it off a network.
    pub(super) async fn disconnect(&self, network: String) -> Result<(), EngineError> {
        self.ask(|answer| Request::Disconnect(network, answer)).await
    }

    /// Removes it where it is at rest.
    pub(super) async fn remove(&self, anonymous: AnonymousVolumes) -> Result<(), EngineError> {
        self.ask(|answer| Request::Remove(anonymous, answer)).await
    }

    /// Suspends `--rm`, or lets it hold again.
    pub(super) async fn keep_after_exit(&self, keep: bool) -> Result<(), EngineError> {
        self.send(Request::KeepAfterExit(keep)).await
    }

    /// No restarts from here on.
    pub(super) async fn shut_down(&self) -> Result<(), EngineError> {
        self.ask(Request::ShutDown).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, EngineError> {
        let (answer, outcome) = oneshot::channel();
        self.send(request(answer)).await?;
        // The task drops what it has not answered when the container is gone.
        outcome.await.unwrap_or_else(|_| Err(self.gone()))
    }

    async fn send(&self, request: Request) -> Result<(), EngineError> {
        self.0.requests.send(request).await.map_err(|_| self.gone())
    }

    fn gone(&self) -> EngineError {
        EngineError::NoSuchContainer(self.id().to_string())
    }
}
