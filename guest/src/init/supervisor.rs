//! What PID 1 does once its machine is prepared: meets the host, starts the engine, waits for what happens, ends.

use std::io;
use std::time::Duration;

use holm_api::link::{Configure, GuestMessage, HostMessage, Ready};
use holm_api::port;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::boot::{self, Boot, BootError, ENGINE_STEP, Failure, Place};
use super::engine::{self, Started};
use super::life::{Action, Event, Life};
use super::link::{Link, LinkLost};
use super::{clock, power, reaper};

/// How long the host may take to read why the boot failed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The host wanted it, or is gone.
    Orderly,
    /// The boot failed.
    Failed,
}

/// Keeps the machine until its end. When this returns, nothing else runs and the data is on the disk.
pub(super) async fn supervise(boot: Boot, prepared: Result<Started, Failure>) -> End {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            tracing::error!(%error, "cannot wait for signals");
            return End::Failed;
        }
    };
    let (end, link) = meet_and_keep(boot, prepared, &mut signals).await;
    power::end_processes(&mut signals.children).await;
    power::close_data().await;
    // The host takes the end of the link for the end of the machine's work.
    drop(link);
    end
}

/// What PID 1 listens to beside the link.
struct Signals {
    children: SignalStream,
    terminate: SignalStream,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { children: signal(SignalKind::child())?, terminate: signal(SignalKind::terminate())? })
    }
}

async fn meet_and_keep(
    mut boot: Boot,
    prepared: Result<Started, Failure>,
    signals: &mut Signals,
) -> (End, Option<Link>) {
    if let Err(failure) = &prepared {
        tracing::error!("{failure}");
    }
    let met = match boot.transport.listen(port::LINK) {
        Ok(listener) => tokio::select! {
            met = Link::meet(&listener) => met,
            _ = signals.terminate.recv() => return (End::Orderly, None),
        },
        Err(error) => Err(error),
    };
    let (mut link, configure) = match met {
        Ok(met) => met,
        Err(error) => {
            tracing::error!(%error, "no host can reach this machine");
            return (End::Failed, None);
        }
    };
    let end = match prepared {
        Ok(engine) => start_and_keep(&mut boot, &mut link, &configure, engine, signals).await,
        Err(failure) => Err(failure),
    };
    match end {
        Ok(()) => (End::Orderly, Some(link)),
        Err(failure) => {
            tracing::error!("{failure}");
            if link.send(&failure.message()).await.is_ok() {
                link.until_closed(LAST_WORDS).await;
            }
            (End::Failed, Some(link))
        }
    }
}

async fn start_and_keep(
    boot: &mut Boot,
    link: &mut Link,
    configure: &Configure,
    engine: Started,
    signals: &mut Signals,
) -> Result<(), Failure> {
    boot::configure(boot, configure).await?;
    let pid = engine.pid;
    let ready = engine.let_go().map_err(|error| Failure {
        step: ENGINE_STEP,
        error: BootError::System { doing: "wait for the engine".to_owned(), cause: error },
    })?;
    Keeper {
        boot,
        link,
        signals,
        life: Life::first(Instant::now()),
        pid: Some(pid),
        ready: Some(ready),
        how: String::new(),
        host_gone: false,
    }
    .keep()
    .await
}

/// A machine whose engine was started.
struct Keeper<'a> {
    boot: &'a mut Boot,
    link: &'a mut Link,
    signals: &'a mut Signals,
    life: Life,
    /// Of the engine that runs or has not been waited for.
    pid: Option<Pid>,
    /// Until the engine has said that it serves.
    ready: Option<Receiver>,
    /// How the engine ended last.
    how: String,
    /// Nothing more will come over the link.
    host_gone: bool,
}

/// Whatever wakes the keeper.
enum Woken {
    Host(Result<HostMessage, LinkLost>),
    Children,
    Terminate,
    Serving(bool),
    Time,
    NetworkEnded(String),
}

impl Keeper<'_> {
    /// Until the engine is gone for good.
    async fn keep(mut self) -> Result<(), Failure> {
        while self.life != Life::Gone {
            match self.wait().await {
                Woken::Host(Ok(HostMessage::SetClock { unix_nanos })) => self.set_clock(unix_nanos),
                Woken::Host(Ok(HostMessage::Shutdown)) => self.happened(Event::Stop).await?,
                Woken::Host(Ok(HostMessage::Hello { .. } | HostMessage::Configure(_))) => {
                    tracing::warn!("the host has introduced itself already");
                }
                // A machine lives no longer than its host: without it there is no network and no client.
                Woken::Host(Err(lost)) => {
                    tracing::warn!("{lost}, so this machine ends");
                    self.host_gone = true;
                    self.happened(Event::Stop).await?;
                }
                Woken::Terminate => self.happened(Event::Stop).await?,
                Woken::Children => {
                    if let Some(ending) = reaper::reap(self.pid).engine {
                        tracing::info!("the engine ended with {ending}");
                        self.how = ending.to_string();
                        self.pid = None;
                        self.ready = None;
                        self.happened(Event::Ended).await?;
                    }
                }
                Woken::Serving(serves) => {
                    self.ready = None;
                    // Where it closed the pipe it is about to end, which is told by itself.
                    if serves {
                        self.happened(Event::Ready).await?;
                    }
                }
                Woken::Time => self.happened(Event::Time).await?,
                Woken::NetworkEnded(why) => tracing::error!("the machine is cut off from the network: {why}"),
            }
        }
        Ok(())
    }

    /// Takes an event to the engine's life and does what it asks for.
    async fn happened(&mut self, mut event: Event) -> Result<(), Failure> {
        loop {
            let (life, action) = std::mem::replace(&mut self.life, Life::Gone).next(event, Instant::now());
            self.life = life;
            match action {
                Action::Wait => {}
                Action::TellReady => {
                    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
                    let warnings = std::mem::take(&mut self.boot.warnings);
                    self.tell(&GuestMessage::Ready(Ready { kernel, warnings })).await;
                }
                Action::TellRestart => {
                    let how = self.how.clone();
                    self.tell(&GuestMessage::EngineRestarted { how }).await;
                }
                Action::GiveUp => {
                    let error = BootError::Engine(std::mem::take(&mut self.how));
                    return Err(Failure { step: ENGINE_STEP, error });
                }
                Action::Start => match engine::start(self.boot) {
                    Ok(started) => {
                        self.pid = Some(started.pid);
                        // Where it cannot be heard, its time to start runs out.
                        self.ready = started.let_go().ok();
                    }
                    Err(error) => {
                        self.how = format!("no start: {error}");
                        event = Event::Ended;
                        continue;
                    }
                },
                Action::Terminate => self.signal(Signal::TERM),
                Action::Kill => self.signal(Signal::KILL),
            }
            return Ok(());
        }
    }

    /// Where it cannot be said, the link is lost, and that is noticed where it is read.
    async fn tell(&mut self, message: &GuestMessage) {
        if let Err(error) = self.link.send(message).await {
            tracing::warn!("cannot tell the host: {error}");
        }
    }

    fn signal(&self, signal: Signal) {
        // Not waited for yet, so the number is still its own.
        if let Some(error) = self.pid.and_then(|pid| kill_process(pid, signal).err()) {
            tracing::error!(%error, "the engine cannot be told to end");
        }
    }

    fn set_clock(&self, unix_nanos: u64) {
        if self.boot.place == Place::Machine
            && let Err(error) = clock::set(unix_nanos)
        {
            tracing::error!(%error, "the clock cannot be set");
        }
    }

    async fn wait(&mut self) -> Woken {
        let time = async {
            match self.life.wakes() {
                Some(instant) => sleep_until(instant).await,
                None => std::future::pending().await,
            }
        };
        let serving = async {
            match &mut self.ready {
                Some(ready) => engine::serves(ready).await,
                None => std::future::pending().await,
            }
        };
        let network = async {
            match &mut self.boot.uplink {
                Some(uplink) => uplink.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = self.link.receive(), if !self.host_gone => Woken::Host(message),
            _ = self.signals.children.recv() => Woken::Children,
            _ = self.signals.terminate.recv() => Woken::Terminate,
            serves = serving => Woken::Serving(serves),
            () = time => Woken::Time,
            why = network => Woken::NetworkEnded(why),
        }
    }
}
