//! The contract between the host daemon and a backend.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// A port of the guest's or the host's vsock, as in vsock(7).
pub type Port = u32;

/// Both directions of one stream. `shutdown` ends the writing direction only, and the other side reads to the
/// end what was written before it. What it is of may be asked (`Any`): a socket can do without a runtime.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Any {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + Any> ByteStream for T {}

/// An open stream between host and guest.
pub type Stream = Box<dyn ByteStream>;

/// What a method of a trait object returns in place of `async fn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Memory and disk sizes, in units of 2^20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mebibytes(pub u64);

impl Mebibytes {
    /// The same in bytes.
    pub fn bytes(self) -> u64 {
        self.0 << 20
    }
}

/// What is to be booted.
#[derive(Clone, Debug)]
pub struct MachineSpec {
    /// Folder of this machine's own files: sockets, console log, process id. Exists, and only its owner may enter.
    pub run: PathBuf,
    /// Folder of the guest image: `vmlinux`, `initramfs`, `data.ext4.zst`, `manifest.json`. For `process`,
    /// the folder that holds the program `holmd`.
    pub image: PathBuf,
    /// The data disk, a raw sparse file that exists; for `process`, a folder beside it with the same name and
    /// the ending `.d` takes its place.
    pub disk: PathBuf,
    /// Processors of the guest, at least 1.
    pub cpus: u32,
    /// Memory of the guest.
    pub memory: Mebibytes,
}

/// What a backend can do here. Read before a spec is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// The guest has a kernel of its own; where not, images and limits are the host's kernel's business.
    pub own_kernel: bool,
    /// `None`: the processor's own virtualization. `Some`: what stands in for it, in words for `machine status`.
    pub emulation: Option<String>,
}

/// A way to run a machine on this host.
pub trait Hypervisor: Send + Sync {
    /// As the settings call it: `qemu`, `process`.
    fn name(&self) -> &'static str;
    /// What this one can do here.
    fn features(&self) -> Features;
    /// Ends what an earlier daemon left running in `run` and frees its disk. Does nothing where nothing is left;
    /// may block for a few seconds. Call it before `boot`.
    fn end_leftover(&self, spec: &MachineSpec) -> Result<(), BootError>;
    /// Returns once the processors run, and may block until then. Whether the guest is well, it says itself over
    /// the link. The machine ends with the process that called this, however that ends.
    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>, BootError>;
}

/// A running machine. Dropping it kills it.
pub trait Machine: Send + Sync {
    /// Opens a stream to a port the guest listens on.
    ///
    /// [`io::ErrorKind::ConnectionRefused`] where nobody listens there yet, the guest's drivers included: try
    /// again. [`io::ErrorKind::NotConnected`] once the machine has ended.
    fn connect(&self, port: Port) -> BoxFuture<'_, io::Result<Stream>>;
    /// Takes the streams that the guest opens to a port of the host, from now on. Once a port.
    fn listen(&self, port: Port) -> io::Result<Box<dyn Listener>>;
    /// Waits for the machine's end, and may be called any number of times at once.
    fn wait(&self) -> BoxFuture<'_, Exit>;
    /// Ends the machine now, as pulling the plug would; `wait` tells when it is over. May be repeated.
    fn kill(&self);
    /// Process on this host that is the machine, `None` where there is none.
    fn pid(&self) -> Option<u32>;
}

/// Streams that the guest opened to one port of the host.
pub trait Listener: Send {
    /// The next one. [`io::ErrorKind::NotConnected`] once the machine has ended.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>>;
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest powered itself off.
    PoweredOff,
    /// It was ended from outside, or crashed: what is known, in words.
    Died(String),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PoweredOff => f.write_str("powered off"),
            Self::Died(how) => write!(f, "died: {how}"),
        }
    }
}

/// Why a machine did not start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// A program that the backend needs is not installed.
    #[error("{program} is not installed")]
    ProgramMissing {
        /// As it is called on the command line.
        program: String,
        /// The package that has it.
        package: String,
    },
    /// Part of the guest image is not there.
    #[error("the guest image has no {}", .0.display())]
    ImageIncomplete(PathBuf),
    /// The backend needs rights that this user does not have.
    #[error("the `{backend}` machine needs {right}")]
    NotAllowed {
        /// As the settings call it.
        backend: &'static str,
        /// `root`, for one.
        right: &'static str,
    },
    /// Another process has the data disk open.
    #[error("the data disk {} is in use by another process", .0.display())]
    DiskInUse(PathBuf),
    /// Any other step, named.
    #[error("cannot {step}")]
    Step {
        /// What was tried, as an infinitive: `start qemu-system-x86_64`.
        step: String,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
}

impl BootError {
    /// The next thing to type, when we know it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ProgramMissing { package, .. } => Some(format!("install the package {package}")),
            Self::ImageIncomplete(_) => Some("build it with `make image`, or install Holm again".into()),
            Self::NotAllowed { .. } => {
                Some("run it with sudo, or set machine = \"auto\" in settings.toml".into())
            }
            Self::DiskInUse(_) => Some("stop the other `holm daemon`, then try again".into()),
            Self::Step { .. } => None,
        }
    }
}
