//! The one task that owns the machine. It feeds `lifecycle::next` with what happens, carries out the action it
//! answers, and publishes the state; whoever wants a machine asks a [`Supervisor`] handle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holm_api::link::{GuestMessage, HostMessage};
use holm_vmm::{BootError, Hypervisor, Machine};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};
use tracing::{info, warn};

use super::guest::{self, Guest};
use super::lifecycle::{self, Action, Event, Failure, State, Then};

/// How long a caller waits for the state it asked for. The life cycle's own deadlines are shorter, so this only
/// ends a wait that a defect would make endless.
const CALLER_DEADLINE: Duration = Duration::from_secs(180);

/// From the end of the link to the end of a machine that powers itself off.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// What everybody may know of the machine.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) state: State,
    /// Counts boots; tells an old failure from the answer to a new start.
    pub(super) boots: u64,
    machine: Option<Arc<dyn Machine>>,
}

impl Snapshot {
    /// Process on this computer that is the machine.
    pub(super) fn pid(&self) -> Option<u32> {
        self.machine.as_ref().and_then(|machine| machine.pid())
    }
}

/// Makes the machine's parts anew for every boot. May block.
pub(super) type Boot = dyn Fn(&dyn Hypervisor) -> Result<Box<dyn Machine>, BootError> + Send + Sync;

/// A handle to the task. It ends when all handles are gone.
#[derive(Clone)]
pub(super) struct Supervisor {
    wishes: mpsc::Sender<Event>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Supervisor {
    /// Starts the task with a stopped machine.
    pub(super) fn spawn(
        hypervisor: Arc<dyn Hypervisor>,
        boot: Arc<Boot>,
        guest: Guest,
    ) -> (Self, JoinHandle<()>) {
        let (wishes, wished) = mpsc::channel(64);
        let stopped = Snapshot { state: State::Stopped, boots: 0, machine: None };
        let (publish, snapshot) = watch::channel(stopped);
        let task = Task { hypervisor, boot, guest, publish, reports: mpsc::channel(64), running: None };
        (Self { wishes, snapshot }, tokio::spawn(task.run(wished)))
    }

    /// How it is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// The running machine, started first where it is not. Safe to call any number of times at once.
    pub(super) async fn running(&self) -> Result<Arc<dyn Machine>, Failure> {
        let mut snapshot = self.snapshot.clone();
        // A boot that is under way answers us as well; any other failure is of a time before we asked.
        let entry = self.snapshot();
        let answer = entry.boots + u64::from(!matches!(entry.state, State::Starting { .. }));
        self.wait(|| async {
            let mut asked = false;
            loop {
                let now = snapshot.borrow_and_update().clone();
                match (&now.state, now.machine) {
                    (State::Running { .. }, Some(machine)) => return Ok(machine),
                    (State::Failed(failure), _) if now.boots >= answer => return Err(failure.clone()),
                    (State::Stopped, _) if now.boots >= answer => return Err(stopped_meanwhile()),
                    (State::Stopped | State::Failed(_) | State::Stopping { then: Then::Stay, .. }, _)
                        if !asked =>
                    {
                        asked = true;
                        self.wish(Event::Start).await?;
                    }
                    _ => {}
                }
                snapshot.changed().await.map_err(|_| daemon_ends())?;
            }
        })
        .await
    }

    /// Returns once no machine is left.
    pub(super) async fn stop(&self) -> Result<(), Failure> {
        self.wish(Event::Stop).await?;
        let mut snapshot = self.snapshot.clone();
        self.wait(|| async {
            let ended = snapshot.wait_for(|now| matches!(now.state, State::Stopped | State::Failed(_)));
            ended.await.map(|_| ()).map_err(|_| daemon_ends())
        })
        .await
    }

    /// Returns once another machine runs in the place of this one.
    pub(super) async fn restart(&self) -> Result<Arc<dyn Machine>, Failure> {
        let before = self.snapshot().boots;
        self.wish(Event::Restart).await?;
        let mut snapshot = self.snapshot.clone();
        self.wait(|| async {
            snapshot.wait_for(|now| now.boots > before).await.map(|_| ()).map_err(|_| daemon_ends())
        })
        .await?;
        self.running().await
    }

    async fn wish(&self, event: Event) -> Result<(), Failure> {
        self.wishes.send(event).await.map_err(|_| daemon_ends())
    }

    async fn wait<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        wait: impl FnOnce() -> F,
    ) -> Result<T, Failure> {
        timeout(CALLER_DEADLINE, wait()).await.unwrap_or(Err(Failure::Silent))
    }
}

fn daemon_ends() -> Failure {
    Failure::Boot { message: "the host daemon is stopping".into(), hint: Some("try again".into()) }
}

fn stopped_meanwhile() -> Failure {
    Failure::Boot { message: "it was stopped meanwhile".into(), hint: Some("try again".into()) }
}

/// What a boot's own tasks tell the owner.
enum Report {
    Booted(Box<dyn Machine>),
    Event(Event),
}

/// A report and the number of the boot it belongs to.
type Numbered = (u64, Report);

/// What exists only while a machine does. Dropping it ends the tasks.
struct Running {
    machine: Arc<dyn Machine>,
    orders: mpsc::Sender<HostMessage>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

struct Task {
    hypervisor: Arc<dyn Hypervisor>,
    boot: Arc<Boot>,
    guest: Guest,
    publish: watch::Sender<Snapshot>,
    /// Each report carries the number of its boot, so that a late word of an earlier machine is not taken for one
    /// of this machine.
    reports: (mpsc::Sender<Numbered>, mpsc::Receiver<Numbered>),
    running: Option<Running>,
}

impl Task {
    async fn run(mut self, mut wished: mpsc::Receiver<Event>) {
        loop {
            let due = lifecycle::deadline(&self.publish.borrow().state);
            let event = tokio::select! {
                wish = wished.recv() => match wish {
                    Some(event) => event,
                    None => return,
                },
                Some((boot, report)) = self.reports.1.recv() => {
                    if boot != self.boots() {
                        continue;
                    }
                    match report {
                        Report::Booted(machine) => {
                            self.adopt(machine);
                            continue;
                        }
                        Report::Event(event) => event,
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => Event::Tick,
            };
            self.happen(event).await;
        }
    }

    fn boots(&self) -> u64 {
        self.publish.borrow().boots
    }

    async fn happen(&mut self, event: Event) {
        if matches!(event, Event::MachineEnded(_) | Event::BootFailed { .. }) {
            self.running = None;
        }
        let before = self.publish.borrow().state.clone();
        let (state, action) = lifecycle::next(before.clone(), event, Instant::now());
        if state != before {
            info!(?state, "machine");
        }
        let machine = self.running.as_ref().map(|running| running.machine.clone());
        let boots = self.boots() + u64::from(action == Some(Action::Boot));
        self.publish.send_replace(Snapshot { state, boots, machine });
        match action {
            Some(Action::Boot) => self.boot(boots),
            Some(Action::AskShutdown) => self.ask_shutdown(),
            Some(Action::Kill) => self.kill(),
            None => {}
        }
    }

    /// Boots on a thread that may block; the machine comes back as a report.
    fn boot(&self, number: u64) {
        let (hypervisor, boot) = (self.hypervisor.clone(), self.boot.clone());
        let reports = self.reports.0.clone();
        tokio::spawn(async move {
            let booted = tokio::task::spawn_blocking(move || boot(&*hypervisor)).await;
            let report = match booted {
                Ok(Ok(machine)) => Report::Booted(machine),
                Ok(Err(e)) => Report::Event(Event::BootFailed { message: with_causes(&e), hint: e.hint() }),
                Err(panic) => Report::Event(Event::BootFailed { message: panic.to_string(), hint: None }),
            };
            let _ = reports.send((number, report)).await;
        });
    }

    /// Takes over a machine whose processors run. A stop may have been asked for while it booted.
    fn adopt(&mut self, machine: Box<dyn Machine>) {
        let machine: Arc<dyn Machine> = Arc::from(machine);
        let boot = self.boots();
        let (orders, ordered) = mpsc::channel(16);
        let mut tasks = Vec::new();

        let (reports, waiting) = (self.reports.0.clone(), machine.clone());
        tasks.push(tokio::spawn(async move {
            let exit = waiting.wait().await;
            let _ = reports.send((boot, Report::Event(Event::MachineEnded(exit)))).await;
        }));

        let (heard, mut hearing) = mpsc::channel(16);
        let reports = self.reports.0.clone();
        tasks.push(tokio::spawn(async move {
            while let Some(message) = hearing.recv().await {
                if let Some(event) = event_of(message) {
                    let _ = reports.send((boot, Report::Event(event))).await;
                }
            }
        }));

        let (reports, serving, guest) = (self.reports.0.clone(), machine.clone(), self.guest.clone());
        tasks.push(tokio::spawn(async move {
            if let Err(e) = guest::serve(&guest, &*serving, heard, ordered).await {
                // A link that breaks because the machine ended is told by the machine's end. One that breaks
                // under a living machine leaves nobody to stop it in order, so it loses its plug.
                if timeout(LAST_BREATH, serving.wait()).await.is_ok() {
                    return;
                }
                let event = Event::GuestFailed { step: "link".into(), reason: with_causes(&e) };
                let _ = reports.send((boot, Report::Event(event))).await;
            }
        }));

        self.running = Some(Running { machine: machine.clone(), orders, tasks });
        let stopping = matches!(self.publish.borrow().state, State::Stopping { .. });
        self.publish.send_modify(|snapshot| snapshot.machine = Some(machine));
        if stopping {
            self.kill();
        }
    }

    /// A guest whose link is gone or stuck is found by the stop's deadline.
    fn ask_shutdown(&self) {
        if let Some(running) = &self.running
            && running.orders.try_send(HostMessage::Shutdown).is_err()
        {
            warn!("the guest takes no orders, so it will be ended at its deadline");
        }
    }

    fn kill(&self) {
        if let Some(running) = &self.running {
            running.machine.kill();
        }
    }
}

fn event_of(message: GuestMessage) -> Option<Event> {
    match message {
        GuestMessage::Ready(ready) => Some(Event::GuestReady(ready)),
        GuestMessage::Failed { step, reason } => Some(Event::GuestFailed { step, reason }),
        GuestMessage::EngineRestarted { how } => {
            warn!("the engine ended ({how}) and was started again");
            None
        }
        GuestMessage::Hello { .. } => None,
    }
}

/// The error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let sentence = error.to_string();
        if !text.contains(&sentence) {
            text = format!("{text}: {sentence}");
        }
        cause = error.source();
    }
    text
}

impl Supervisor {
    /// The exit that the failure in the snapshot tells of, for tests.
    #[cfg(test)]
    fn failure(&self) -> Option<Failure> {
        match self.snapshot().state {
            State::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holm_vmm::Exit;

    /// A hypervisor none of whose machines start.
    struct Broken;

    impl Hypervisor for Broken {
        fn name(&self) -> &'static str {
            "broken"
        }

        fn features(&self) -> holm_vmm::Features {
            holm_vmm::Features { own_kernel: false, emulation: None }
        }

        fn end_leftover(&self, _: &holm_vmm::MachineSpec) -> Result<(), BootError> {
            Ok(())
        }

        fn boot(&self, _: &holm_vmm::MachineSpec) -> Result<Box<dyn Machine>, BootError> {
            Err(BootError::NotAllowed { backend: "broken", right: "root" })
        }
    }

    fn broken() -> Supervisor {
        let boot = |_: &dyn Hypervisor| -> Result<Box<dyn Machine>, BootError> {
            Err(BootError::NotAllowed { backend: "broken", right: "root" })
        };
        Supervisor::spawn(Arc::new(Broken), Arc::new(boot), Guest::for_tests()).0
    }

    #[tokio::test]
    async fn a_boot_that_fails_is_told_to_everyone_who_waits() {
        let supervisor = broken();
        let (one, two) = tokio::join!(supervisor.running(), supervisor.running());
        for failure in [one.err(), two.err(), supervisor.failure()] {
            assert!(matches!(failure, Some(Failure::Boot { .. })), "{failure:?}");
        }
    }

    #[tokio::test]
    async fn a_start_after_a_failure_tries_again() {
        let supervisor = broken();
        assert!(supervisor.running().await.is_err());
        assert!(supervisor.running().await.is_err());
        assert_eq!(supervisor.snapshot().boots, 2);
    }

    #[tokio::test]
    async fn stopping_a_machine_that_never_ran_returns() {
        assert_eq!(broken().stop().await, Ok(()));
    }

    #[test]
    fn causes_are_told_once() {
        let error = BootError::Step { step: "start qemu".into(), cause: std::io::Error::other("no memory") };
        assert_eq!(with_causes(&error), "cannot start qemu: no memory");
    }

    #[test]
    fn an_exit_is_a_sentence() {
        assert_eq!(Failure::Died(Exit::Died("signal 9".into())).to_string(), "the machine died: signal 9");
    }
}
