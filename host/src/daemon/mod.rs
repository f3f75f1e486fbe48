//! The host daemon: boots the machine, keeps it, and carries bytes between the two sides.
//!
//! ```text
//!   docker.sock ─┬ pipe ──────┐                        ┌── link     Configure, SetClock, Shutdown
//!   tcp, tls ────┘            ├── supervisor ── guest ─┤
//!   daemon.sock ── orders ────┘   (lifecycle)          └── net      the guest's packets
//! ```
//!
//! `cli` and `daemon` meet only over the two sockets; `start` is how the one brings up the other.

use std::future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::{Stream, stream};
use holm_api::link::{Binds, Registries};
use holm_api::port;
use holm_vmm::{BootError, Choice, Hypervisor, Machine, MachineSpec, Mebibytes, PickError};
use tokio::task::JoinSet;
use tracing::{info, warn};

use self::guest::Guest;
use self::image::Image;
use self::lock::Lock;
use self::shares::Shares;
use self::supervisor::Supervisor;
use crate::home::Home;
use crate::os;
use crate::settings::{Computer, Settings, SettingsError};

mod certificates;
mod console;
pub(crate) mod control;
mod disk;
mod environment;
mod guest;
mod image;
mod lifecycle;
mod link;
mod lock;
pub(crate) mod net;
mod orders;
mod pipe;
mod ports;
mod services;
pub(crate) mod shares;
pub(crate) mod start;
mod supervisor;
mod tcp;
mod tls;
mod token;

pub(crate) use supervisor::with_causes;

/// Memory of a computer that does not say how much it has.
const SMALL_COMPUTER: Mebibytes = Mebibytes(4 << 10);

/// Why a daemon did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// A folder, a file or a socket of ours, named.
    #[error("cannot use {0}")]
    Unusable(String, #[source] io::Error),
    /// Another daemon has this home.
    #[error("another Holm daemon is running for {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The certificates of the Engine API over TCP cannot be made.
    #[error("cannot make the certificates of `listen-tcp`")]
    Certificates(#[from] tls::CertificateError),
    /// There is no machine for this system.
    #[error(transparent)]
    Pick(#[from] PickError),
}

impl DaemonError {
    /// The next thing to type, when we know it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unusable(_, cause) if cause.kind() == io::ErrorKind::InvalidInput => {
                Some("set HOLM_HOME to a folder with a shorter path".into())
            }
            Self::Unusable(..) | Self::Certificates(_) => None,
            Self::AlreadyRunning(_) => Some("use it; its process is told by `holm machine status`".into()),
            Self::Settings(e) => e.hint(),
            Self::Pick(e) => e.hint(),
        }
    }
}

/// What the daemon was started with and never changes.
struct Machinery {
    home: Home,
    settings: Settings,
    hypervisor: Arc<dyn Hypervisor>,
    /// Folder of the guest image; for `process`, of the program `holmd`.
    image_folder: PathBuf,
    image: Option<Image>,
    shares: Arc<Shares>,
}

impl Machinery {
    fn spec(&self) -> MachineSpec {
        MachineSpec {
            run: self.home.machine_run(),
            image: self.image_folder.clone(),
            disk: self.home.disk(),
            cpus: self.settings.cpus,
            memory: self.settings.memory,
        }
    }

    /// One boot: nothing left over, a disk, a machine. May block.
    fn boot(&self, hypervisor: &dyn Hypervisor) -> Result<Box<dyn Machine>, BootError> {
        let spec = self.spec();
        hypervisor.end_leftover(&spec)?;
        if hypervisor.features().own_kernel {
            let template = spec.image.join("data.ext4.zst");
            if !template.is_file() && !spec.disk.exists() {
                return Err(BootError::ImageIncomplete(template));
            }
            disk::prepare(&spec.disk, &template, self.settings.disk_size).map_err(|cause| {
                BootError::Step { step: format!("prepare {}", spec.disk.display()), cause }
            })?;
        }
        hypervisor.boot(&spec)
    }

    /// Deletes all images, containers and volumes. No machine may run.
    fn delete_data(&self) -> io::Result<()> {
        let disk = self.home.disk();
        for result in [std::fs::remove_file(&disk), std::fs::remove_dir_all(disk.with_extension("d"))] {
            match result {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// Bytes of the data disk, and those that it takes on this computer.
    fn disk_usage(&self) -> (u64, u64) {
        std::fs::metadata(self.home.disk()).map_or((0, 0), |disk| (disk.len(), os::bytes_taken(&disk)))
    }

    fn guest(&self) -> Guest {
        Guest {
            registries: Registries {
                mirrors: self.settings.registry_mirrors.clone(),
                insecure: self.settings.insecure_registries.clone(),
                ..Registries::default()
            },
            certificate_folders: certificates::folders(&self.home).into(),
            proxy: environment::proxy(|name| std::env::var(name).ok()),
            root_certificates: environment::root_certificates().into(),
            hypervisor: self.hypervisor.name(),
            image_digest: self.image.as_ref().map(|image| image.digest().to_owned()),
            binds: if self.settings.plain_binds { Binds::Plain } else { Binds::Served },
            shares: self.shares.clone(),
        }
    }
}

/// Is the daemon of `home` until it is told to end. The machine starts with it, so that containers whose restart
/// policy asks for it come back; it ends with it in order.
pub(crate) async fn serve(home: Home) -> Result<(), DaemonError> {
    let unusable = |path: PathBuf| move |e| DaemonError::Unusable(path.display().to_string(), e);
    home.create().map_err(unusable(home.root().to_owned()))?;
    let Some(_lock) = Lock::take(&home.lock()).map_err(unusable(home.lock()))? else {
        return Err(DaemonError::AlreadyRunning(home.root().to_owned()));
    };
    os::raise_open_files();
    let settings = Settings::read(&home.settings(), this_computer())?;
    let hypervisor: Arc<dyn Hypervisor> = Arc::from(holm_vmm::pick(settings.machine)?);
    let machinery = Arc::new(machinery(home, settings, hypervisor));

    let (engine, commands) = (machinery.home.engine_socket(), machinery.home.control_socket());
    let engine = os::Listener::bind(&engine).map_err(unusable(engine))?;
    let commands = os::Listener::bind(&commands).map_err(unusable(commands))?;

    let doors = tcp::open(&machinery.settings, &machinery.home).await?;

    let booting = machinery.clone();
    let boot = Arc::new(move |hypervisor: &dyn Hypervisor| booting.boot(hypervisor));
    let (supervisor, _task) = Supervisor::spawn(machinery.hypervisor.clone(), boot, machinery.guest());
    info!(home = %machinery.home.root().display(), machine = machinery.hypervisor.name(), "holm daemon");

    let mut servers = JoinSet::new();
    servers.spawn(pipe::serve(clients_of(engine), port::ENGINE, supervisor.clone()));
    if let Some(door) = doors.secure {
        servers.spawn(pipe::serve(door.clients(), port::ENGINE, supervisor.clone()));
    }
    if let Some(door) = doors.insecure {
        servers.spawn(pipe::serve(door.clients(), port::ENGINE_OPEN, supervisor.clone()));
    }
    servers.spawn(orders::serve(commands, supervisor.clone(), machinery.clone()));
    let first = supervisor.clone();
    servers.spawn(async move {
        if let Err(failure) = first.running().await {
            warn!("{failure}");
        }
        std::future::pending().await
    });

    tokio::select! {
        told = os::told_to_end() => {
            if let Err(e) = told {
                warn!("cannot wait for signals: {e}");
            }
        }
        Some(Ok(Err(e))) = servers.join_next() => warn!("a socket of the daemon failed: {e}"),
    }
    // The reverse of the start: nobody new, then the machine in order.
    servers.shutdown().await;
    if let Err(failure) = supervisor.stop().await {
        warn!("{failure}");
    }
    info!("holm daemon ended");
    Ok(())
}

/// The clients of a socket, one after the other, until it fails.
fn clients_of(
    listener: os::Listener,
) -> impl Stream<Item = io::Result<future::Ready<io::Result<os::Client>>>> {
    stream::unfold(listener, async |mut listener| {
        let client = listener.accept().await.map(|client| future::ready(Ok(client)));
        Some((client, listener))
    })
}

/// Deletes the data of a home without a daemon. The error where a daemon has it after all.
pub(crate) fn reset_without_daemon(home: Home) -> Result<(), DaemonError> {
    let unusable = |path: PathBuf| move |e| DaemonError::Unusable(path.display().to_string(), e);
    home.create().map_err(unusable(home.root().to_owned()))?;
    let Some(_lock) = Lock::take(&home.lock()).map_err(unusable(home.lock()))? else {
        return Err(DaemonError::AlreadyRunning(home.root().to_owned()));
    };
    let settings = Settings::read(&home.settings(), this_computer())?;
    let hypervisor: Arc<dyn Hypervisor> = Arc::from(holm_vmm::pick(settings.machine)?);
    let machinery = machinery(home, settings, hypervisor);
    if let Err(e) = machinery.hypervisor.end_leftover(&machinery.spec()) {
        return Err(unusable(machinery.home.disk())(io::Error::other(e)));
    }
    machinery.delete_data().map_err(unusable(machinery.home.disk()))
}

fn machinery(home: Home, settings: Settings, hypervisor: Arc<dyn Hypervisor>) -> Machinery {
    let programs = std::env::current_exe().ok().and_then(|program| program.parent().map(PathBuf::from));
    let programs = programs.unwrap_or_default();
    let image_folder = match settings.machine {
        Choice::Process => programs,
        Choice::Auto | Choice::Qemu => image::locate(&programs),
    };
    let image = Image::read(&image_folder);
    Machinery { home, settings, hypervisor, image_folder, image, shares: Arc::default() }
}

fn this_computer() -> Computer {
    let cpus = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
    let memory = sysinfo::System::new_with_specifics(
        sysinfo::RefreshKind::nothing().with_memory(sysinfo::MemoryRefreshKind::nothing().with_ram()),
    );
    // A computer that does not tell is taken for a small one; the settings can say otherwise only up to that.
    let memory = memory.map_or(SMALL_COMPUTER, |system| Mebibytes(system.total_memory() >> 20));
    Computer { cpus, memory }
}
