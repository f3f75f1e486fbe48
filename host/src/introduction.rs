//! Introduces the command line to the daemon: each knows nothing of the other's types.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use crate::cli::{Daemon, Failure, MachineOrder, MachineReport, MachineState, SharedPath, Surroundings};
use crate::daemon::control::{self, ControlError, Reply, Request, Status};
use crate::daemon::shares::Listed;
use crate::daemon::{self, start};
use crate::home::Home;

/// The daemon's side of the program for the command line.
pub(crate) fn daemon_of(home: &Home) -> Daemon {
    let (starting, serving) = (home.clone(), home.clone());
    let (ordering, asking, listing) = (home.clone(), home.clone(), home.clone());
    Daemon {
        ensure_running: Box::new(move || waiting(start::ensure_running(&starting))?.map_err(start_failure)),
        serve: Box::new(move || serve(serving.clone())),
        machine: Box::new(move |order| machine(&ordering, order)),
        surroundings: Box::new(move || surroundings(&asking)),
        shares: Box::new(move || shares(&listing)),
    }
}

/// Runs one conversation with the daemon to its end.
fn waiting<T>(conversation: impl Future<Output = T>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failure)?;
    Ok(runtime.block_on(conversation))
}

fn failure(error: impl Error + Send + Sync + 'static) -> Failure {
    Failure { error: Box::new(error), hint: None }
}

fn start_failure(error: start::StartError) -> Failure {
    let hint = error.hint();
    Failure { error: Box::new(error), hint }
}

fn daemon_failure(error: daemon::DaemonError) -> Failure {
    let hint = error.hint();
    Failure { error: Box::new(error), hint }
}

/// `holm daemon`. What it has to say goes to standard error; `HOLM_LOG` chooses how much.
fn serve(home: Home) -> ExitCode {
    let filter = EnvFilter::try_from_env("HOLM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).init();
    // Copying bytes is most of its work, and two threads keep two directions busy; more would only hold memory.
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(daemon::serve(home)).map_err(daemon_failure),
        Err(e) => Err(failure(e)),
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", daemon::with_causes(&*failure.error));
            if let Some(hint) = failure.hint {
                eprintln!("{hint}");
            }
            ExitCode::FAILURE
        }
    }
}

fn surroundings(home: &Home) -> Result<Surroundings, Failure> {
    match waiting(control::ask(home, Request::Diagnose))?.map_err(failure)? {
        Reply::Surroundings(found) => Ok(Surroundings { proxies: found.proxies, disk_free: found.disk_free }),
        _ => Err(failure(io::Error::other("the Holm daemon answered something else"))),
    }
}

fn shares(home: &Home) -> Result<Vec<SharedPath>, Failure> {
    let listed = match waiting(control::ask(home, Request::Shares))? {
        Ok(Reply::Shares(listed)) => listed,
        Ok(_) => return Err(failure(io::Error::other("the Holm daemon answered something else"))),
        Err(ControlError::NotRunning) => return Ok(Vec::new()),
        Err(error) => return Err(failure(error)),
    };
    let known = |share: Listed| SharedPath {
        path: share.path,
        kind: share.kind,
        identity: share.identity,
        served: share.served,
        watched: share.watched,
        read_only: share.read_only,
        containers: share.containers,
        nodes: share.nodes,
        open: share.open,
        requests: share.requests,
        questions: share.questions,
        kept: share.kept,
        invalidations: share.invalidations,
        read: share.read,
        written: share.written,
    };
    Ok(listed.into_iter().map(known).collect())
}

fn machine(home: &Home, order: MachineOrder) -> Result<MachineReport, Failure> {
    let request = match order {
        MachineOrder::Start => Request::Start,
        MachineOrder::Stop => Request::Stop,
        MachineOrder::Restart => Request::Restart,
        MachineOrder::Status => Request::Status,
        MachineOrder::Reset => Request::Reset,
    };
    match waiting(control::ask(home, request))? {
        Ok(reply) => report(reply),
        Err(ControlError::NotRunning) => without_daemon(home, order),
        Err(e) => Err(failure(e)),
    }
}

/// Only what wants a machine starts a daemon for it; where none runs, no machine does either.
fn without_daemon(home: &Home, order: MachineOrder) -> Result<MachineReport, Failure> {
    match order {
        MachineOrder::Start | MachineOrder::Restart => {
            report(waiting(start::request(home, Request::Start))?.map_err(start_failure)?)
        }
        MachineOrder::Stop | MachineOrder::Status => Ok(stopped()),
        MachineOrder::Reset => {
            daemon::reset_without_daemon(home.clone()).map_err(daemon_failure)?;
            Ok(stopped())
        }
    }
}

fn stopped() -> MachineReport {
    MachineReport {
        state: MachineState::Stopped,
        hypervisor: String::new(),
        kernel: String::new(),
        guest_image: String::new(),
        cpus: 0,
        memory: 0,
        uptime: None,
        notes: Vec::new(),
    }
}

fn report(reply: Reply) -> Result<MachineReport, Failure> {
    match reply {
        Reply::Status(status) => Ok(machine_report(*status)),
        Reply::Surroundings(_) | Reply::Shares(_) => {
            Err(failure(io::Error::other("the Holm daemon answered something else")))
        }
        Reply::Failed { message, hint, console } => {
            Err(start_failure(start::StartError::Machine { message, hint, console }))
        }
    }
}

fn machine_report(status: Status) -> MachineReport {
    let state = match status.state.as_str() {
        "starting" => MachineState::Starting,
        "running" => MachineState::Running,
        "stopping" => MachineState::Stopping,
        "failed" => MachineState::Failed,
        _ => MachineState::Stopped,
    };
    let hypervisor = match status.emulation {
        Some(emulation) => format!("{} ({emulation})", status.hypervisor),
        None => status.hypervisor,
    };
    MachineReport {
        state,
        hypervisor,
        kernel: status.kernel.unwrap_or_default(),
        guest_image: status.image.unwrap_or_default(),
        cpus: status.cpus,
        memory: status.memory,
        uptime: status.uptime_seconds,
        notes: status.warnings,
    }
}
