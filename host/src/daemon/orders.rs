//! Carries out what `holm machine …` asks for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::control::{self, Reply, Request, Status, Surroundings};
use super::lifecycle::{Failure, State};
use super::supervisor::Supervisor;
use super::{Machinery, console, environment};
use crate::os;

/// Commands at once; more than a person has terminals.
const MOST_COMMANDS: usize = 64;
/// Lines of the machine's console that an error shows.
const CONSOLE_LINES: usize = 12;

/// Serves `listener` until it fails. Ends all conversations when it is dropped.
pub(super) async fn serve(
    mut listener: os::Listener,
    supervisor: Supervisor,
    machinery: Arc<Machinery>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(MOST_COMMANDS));
    let mut commands = tokio::task::JoinSet::new();
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?,
            Some(_) = commands.join_next() => continue,
        };
        let (supervisor, machinery) = (supervisor.clone(), machinery.clone());
        commands.spawn(async move {
            let (reader, mut writer) = tokio::io::split(stream);
            if let Ok(request) = control::read_request(reader).await {
                let reply = carry_out(request, &supervisor, &machinery).await;
                // A command that was interrupted reads no answer, and needs none.
                let _ = control::write_reply(&mut writer, &reply).await;
            }
            drop(place);
        });
    }
}

async fn carry_out(request: Request, supervisor: &Supervisor, machinery: &Machinery) -> Reply {
    let done = match request {
        Request::Diagnose => return Reply::Surroundings(surroundings(machinery)),
        Request::Shares => return Reply::Shares(machinery.shares.list()),
        Request::Status => Ok(()),
        Request::Start => supervisor.running().await.map(|_| ()),
        Request::Stop => supervisor.stop().await,
        Request::Restart => supervisor.restart().await.map(|_| ()),
        Request::Reset => match supervisor.stop().await {
            Ok(()) => machinery.delete_data().map_err(|e| Failure::Boot {
                message: format!("cannot delete {}: {e}", machinery.home.disk().display()),
                hint: None,
            }),
            failed => failed,
        },
    };
    match done {
        Ok(()) => Reply::Status(Box::new(status(supervisor, machinery))),
        Err(failure) => failed(&failure, machinery),
    }
}

fn failed(failure: &Failure, machinery: &Machinery) -> Reply {
    let console = match failure {
        // Nothing ran, so what the console says is of an earlier machine.
        Failure::Boot { .. } => Vec::new(),
        _ => console::last_lines(&machinery.home.console(), CONSOLE_LINES),
    };
    let hint = match failure {
        Failure::Boot { hint, .. } => hint.clone(),
        _ => Some(format!("the whole console is in {}", machinery.home.console().display())),
    };
    Reply::Failed { message: failure.to_string(), hint, console }
}

fn surroundings(machinery: &Machinery) -> Surroundings {
    let proxy = environment::proxy(|name| std::env::var(name).ok());
    let proxies = proxy.into_iter().flat_map(|proxy| [proxy.http, proxy.https]).flatten().collect();
    Surroundings { proxies, disk_free: os::free_space(machinery.home.root()).ok().flatten() }
}

fn status(supervisor: &Supervisor, machinery: &Machinery) -> Status {
    let snapshot = supervisor.snapshot();
    let features = machinery.hypervisor.features();
    let (kernel, mut warnings, uptime) = match &snapshot.state {
        State::Running { since, ready } => {
            (Some(ready.kernel.clone()), ready.warnings.clone(), Some(since.elapsed()))
        }
        _ => (None, Vec::new(), None),
    };
    if let State::Failed(failure) = &snapshot.state {
        warnings.push(failure.to_string());
    }
    let (disk, disk_used) = machinery.disk_usage();
    Status {
        state: state_word(&snapshot.state).into(),
        hypervisor: machinery.hypervisor.name().into(),
        emulation: features.emulation,
        kernel,
        image: machinery.image.as_ref().map(|image| image.to_string()),
        uptime_seconds: uptime.as_ref().map(Duration::as_secs),
        cpus: machinery.settings.cpus,
        memory: machinery.settings.memory.bytes(),
        disk,
        disk_used,
        daemon_version: holm_api::VERSION.into(),
        daemon_pid: std::process::id(),
        machine_pid: snapshot.pid(),
        warnings,
    }
}

fn state_word(state: &State) -> &'static str {
    match state {
        State::Stopped => "stopped",
        State::Starting { .. } => "starting",
        State::Running { .. } => "running",
        State::Stopping { .. } => "stopping",
        State::Failed(_) => "failed",
    }
}
