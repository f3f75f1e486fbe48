//! The steps of a boot in their order, and what one leaves for the next.
//!
//! Steps before the link need nothing from the host, so they run while it is still trying to connect. Where one
//! fails, the link is opened all the same, to say so.

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use holm_api::link::{Configure, GuestMessage};

use super::engine::{self, Started};
use super::{cgroups, clock, data_disk, files, limits, mounts, private_root};
use crate::layout::Layout;
use crate::network::{NetworkError, Uplink};
use crate::transport::Transport;

/// Root of all that survives.
pub(super) const DATA: &str = "/var/lib/holm";
/// Root of all that does not.
pub(super) const RUN: &str = "/run/holm";
/// Name of the step that starts the engine, and of the supervisor's wait for it.
pub(super) const ENGINE_STEP: &str = "engine";

/// What this machine is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A kernel of its own.
    Machine,
    /// Namespaces on the host's kernel.
    Process {
        /// Folder of Unix sockets, as the host calls it.
        sockets: PathBuf,
        /// Folder that stands in for the data disk, as the host calls it.
        data: PathBuf,
    },
}

/// What is known and made so far.
#[derive(Debug)]
pub(super) struct Boot {
    pub(super) place: Place,
    pub(super) layout: Layout,
    pub(super) transport: Transport,
    /// This program, as it can be started from here.
    pub(super) program: PathBuf,
    /// For `Ready`: things that do not work here and why.
    pub(super) warnings: Vec<String>,
    /// Set by the step `network`.
    pub(super) uplink: Option<Uplink>,
    /// Set by the step `engine socket`: where containers reach the engine, whichever serves at the time.
    pub(super) inside: Option<UnixListener>,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BootError {
    /// No disk of ours.
    #[error("no disk has the serial number {}", data_disk::SERIAL)]
    NoDataDisk,
    /// The disk of ours holds something else.
    #[error("the data disk {} holds no ext4 file system", .0.display())]
    NotFormatted(PathBuf),
    /// An interface, address or route.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The engine ended before it served; killed, where it said nothing for too long.
    #[error("the engine ended with {0} before it could serve")]
    Engine(String),
    /// Anything else that the kernel refused.
    #[error("cannot {doing}")]
    System {
        /// What was tried, as an infinitive.
        doing: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("the step `{step}` failed: {}", sentence(error))]
pub(super) struct Failure {
    pub(super) step: &'static str,
    /// Told in the text with all its causes, so it is not a source as well.
    pub(super) error: BootError,
}

impl Failure {
    /// For the host.
    pub(super) fn message(&self) -> GuestMessage {
        GuestMessage::Failed { step: self.step.into(), reason: sentence(&self.error) }
    }
}

/// The error and its causes, on one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// Names what an error of the system happened at.
pub(super) fn failed<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> BootError {
    move |cause| BootError::System { doing: doing.into(), cause: cause.into() }
}

impl Boot {
    /// `folders` are those of the sockets and of the data where this machine is a process.
    pub(super) fn new(folders: Option<(PathBuf, PathBuf)>) -> Self {
        let (place, transport, program) = match folders {
            None => (Place::Machine, Transport::Vsock, "/init"),
            Some((sockets, data)) => {
                let transport = Transport::Unix(private_root::SOCKETS.into());
                (Place::Process { sockets, data }, transport, private_root::PROGRAM)
            }
        };
        Self {
            place,
            layout: Layout::new(DATA, RUN),
            transport,
            program: program.into(),
            warnings: Vec::new(),
            uplink: None,
            inside: None,
        }
    }
}

/// One step that needs nothing from the host.
struct Preparation {
    name: &'static str,
    run: fn(&mut Boot) -> Result<(), BootError>,
}

/// Each of them needs those above it.
const PREPARATIONS: [Preparation; 5] = [
    Preparation { name: "root", run: root },
    Preparation { name: "mounts", run: |boot| mounts::mount_all(&boot.place) },
    Preparation { name: "limits", run: limits::raise },
    Preparation { name: "cgroups", run: cgroups::set_up },
    Preparation { name: "engine socket", run: engine_socket },
];

/// Runs the steps before the link, up to the first that fails. The engine waits until it is let go.
pub(super) fn prepare(boot: &mut Boot) -> Result<Started, Failure> {
    PREPARATIONS.iter().try_for_each(|preparation| step(preparation.name, || (preparation.run)(boot)))?;
    // As soon as it can be: it is loaded while all else is done.
    let starting = || format!("start {}", boot.program.display());
    let engine = step(ENGINE_STEP, || engine::start(boot).map_err(failed(starting())))?;
    step("data disk", || data_disk(boot))?;
    Ok(engine)
}

/// Runs the steps that need what the host told, up to the first that fails.
pub(super) async fn configure(boot: &mut Boot, configure: &Configure) -> Result<(), Failure> {
    // The clock first: whatever is written or fetched from here on carries the right time. A process shares its
    // host's clock and must not touch it.
    if boot.place == Place::Machine {
        step("clock", || clock::set(configure.unix_nanos).map_err(failed("set the clock")))?;
    }
    step("files", || files::write_all(Path::new("/"), &boot.layout, configure))?;
    step("host name", || set_hostname(&configure.hostname))?;
    tracing::info!("network");
    let uplink = Uplink::open(&boot.transport, &configure.network_token, &mut boot.warnings).await;
    boot.uplink = Some(uplink.map_err(|error| Failure { step: "network", error: error.into() })?);
    Ok(())
}

fn step<T>(name: &'static str, run: impl FnOnce() -> Result<T, BootError>) -> Result<T, Failure> {
    tracing::info!("{name}");
    run().map_err(|error| Failure { step: name, error })
}

fn root(boot: &mut Boot) -> Result<(), BootError> {
    match &boot.place {
        Place::Machine => mounts::make_root_pivotable(),
        Place::Process { sockets, data } => private_root::enter(sockets, data),
    }?;
    mounts::make_read_only(&boot.program)
}

fn data_disk(boot: &Boot) -> Result<(), BootError> {
    match boot.place {
        Place::Machine => data_disk::mount(Path::new(DATA)),
        // Its folder came along into the private root.
        Place::Process { .. } => Ok(()),
    }
}

/// Held here, so that a container that has it bound finds the next engine behind it as well.
fn engine_socket(boot: &mut Boot) -> Result<(), BootError> {
    let bound =
        fs::create_dir_all(boot.layout.run()).and_then(|()| UnixListener::bind(boot.layout.engine_socket()));
    boot.inside = Some(bound.map_err(failed("listen for containers"))?);
    Ok(())
}

fn set_hostname(name: &str) -> Result<(), BootError> {
    rustix::system::sethostname(name.as_bytes()).map_err(failed(format!("take the host name {name:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_comes_after_those_it_needs() {
        let order: Vec<_> = PREPARATIONS.iter().map(|step| step.name).collect();
        let place = |name| order.iter().position(|step| *step == name).unwrap();
        // proc and sys have to be there to read limits and cgroups from, and a root to mount them on.
        assert!(place("root") < place("mounts"));
        for later in ["limits", "cgroups", "engine socket"] {
            assert!(place("mounts") < place(later), "{later}");
        }
    }

    #[test]
    fn a_failure_names_its_step_and_every_cause() {
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = BootError::System { doing: "mount proc on /proc".into(), cause };
        assert_eq!(
            Failure { step: "mounts", error }.message(),
            GuestMessage::Failed {
                step: "mounts".into(),
                reason: "cannot mount proc on /proc: permission denied".into()
            }
        );
    }
}
