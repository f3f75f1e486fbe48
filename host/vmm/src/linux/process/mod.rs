//! The backend `process`: no virtual machine, but `holmd` in namespaces of its own on this host's kernel. For Linux
//! hosts that need no machine, and for fast tests. Streams are Unix sockets in a folder of the machine.

mod cgroup;
mod clone;
mod files;
mod sockets;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use self::cgroup::Cgroup;
use self::sockets::Sockets;
use super::child::{Child, Ending};
use super::console::Console;
use super::disk_lock::DiskLock;
use super::leftover::{self, Identity};
use crate::{BootError, BoxFuture, Exit, Features, Hypervisor, Listener, Machine, MachineSpec, Port, Stream};

const NAME: &str = "process";
/// A program's usual signals when it powers a PID namespace off or restarts it, see reboot(2).
const POWERED_OFF: [i32; 2] = [libc::SIGINT, libc::SIGHUP];
/// Bytes of console that go into the words about a machine that died.
const LAST_WORDS: usize = 400;

/// Runs the guest's daemon as a child.
pub(crate) struct Process;

impl Hypervisor for Process {
    fn name(&self) -> &'static str {
        NAME
    }

    fn features(&self) -> Features {
        Features { own_kernel: false, emulation: None }
    }

    fn end_leftover(&self, spec: &MachineSpec) -> Result<(), BootError> {
        // Whoever served its folders was the earlier daemon.
        Cgroup::of_leftover(&spec.run)
            .and_then(|cgroup| cgroup.map_or(Ok(()), |cgroup| files::abort(&cgroup)))
            .map_err(|cause| step("end the shared folders of an earlier machine", cause))?;
        leftover::end(&spec.run)?;
        Cgroup::remove_leftover(&spec.run)
            .map_err(|cause| step("remove the cgroup of an earlier machine", cause))
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>, BootError> {
        if !rustix::process::geteuid().is_root() {
            return Err(BootError::NotAllowed { backend: NAME, right: "root" });
        }
        let program = spec.image.join("holmd");
        if !program.is_file() {
            return Err(BootError::ImageIncomplete(program));
        }
        let data = data_folder(&spec.disk);
        let folder = spec.run.join("sockets");
        private_folder(&data).map_err(|cause| step(format!("make the folder {}", data.display()), cause))?;
        private_folder(&folder)
            .map_err(|cause| step(format!("make the folder {}", folder.display()), cause))?;
        let lock = DiskLock::take(&data)?;
        let sockets = Sockets::open(&folder).map_err(|cause| step("empty the folder of sockets", cause))?;
        let (console, output) = io::pipe().map_err(|cause| step("make a pipe", cause))?;
        let console =
            Console::keep(&spec.run, console).map_err(|cause| step("open the console log", cause))?;
        let cgroup = Cgroup::make(&spec.run).map_err(|cause| step("make a cgroup", cause))?;

        let plan = clone::Plan {
            program: c_string(&program)?,
            arguments: [
                c"holmd".to_owned(),
                c"init".to_owned(),
                c"--sockets".to_owned(),
                c_string(&folder)?,
                c"--data".to_owned(),
                c_string(&data)?,
            ]
            .into(),
            output: OwnedFd::from(output),
            cgroup: cgroup.descriptor().map_err(|cause| step("open a cgroup", cause))?,
            inherited: lock.as_fd().try_clone_to_owned().map_err(|cause| step("copy a descriptor", cause))?,
        };
        let run = spec.run.clone();
        let end_of_life = {
            let run = run.clone();
            move |ending| {
                drop(cgroup);
                leftover::forget(&run);
                // Last, for whoever gets it may boot the next machine.
                drop(lock);
                exit(ending, &console.finish(LAST_WORDS))
            }
        };
        let start = move || {
            let started = clone::start(&plan)
                .map_err(|cause| step(format!("start {}", plan.program.to_string_lossy()), cause))?;
            // Not fatal: without it, a leftover of ours is known by its lock on the data folder alone.
            if let Err(error) = Identity::of(started.pid).and_then(|identity| identity.record(&run)) {
                tracing::warn!(%error, "the machine's process id cannot be recorded");
            }
            Ok(started)
        };
        let child = Child::keep(NAME, start, end_of_life)?;
        Ok(Box::new(ProcessMachine { child, sockets }))
    }
}

struct ProcessMachine {
    child: Child,
    sockets: Sockets,
}

impl Machine for ProcessMachine {
    fn connect(&self, port: Port) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            match self.child.ended() {
                None => Ok(Box::new(self.sockets.connect(port).await?) as Stream),
                Some(exit) => Err(io::Error::new(io::ErrorKind::NotConnected, format!("the machine {exit}"))),
            }
        })
    }

    fn listen(&self, port: Port) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(self.sockets.listen(port, self.child.exit())?))
    }

    fn wait(&self) -> BoxFuture<'_, Exit> {
        Box::pin(self.child.wait())
    }

    fn kill(&self) {
        // The kernel kills everything else in the PID namespace with its first process.
        self.child.kill();
    }

    fn pid(&self) -> Option<u32> {
        self.child.ended().is_none().then(|| self.child.pid())
    }
}

fn exit(ending: Ending, console: &str) -> Exit {
    match ending {
        Ending::Code(0) => Exit::PoweredOff,
        Ending::Signal(signal) if POWERED_OFF.contains(&signal) => Exit::PoweredOff,
        Ending::Signal(signal) => Exit::Died(format!("holmd was ended by signal {signal}")),
        Ending::Code(code) => match console.trim_end().lines().last() {
            Some(line) => Exit::Died(format!("holmd ended with exit code {code}: {line}")),
            None => Exit::Died(format!("holmd ended with exit code {code}")),
        },
    }
}

/// `disk.raw` becomes `disk.raw.d`.
fn data_folder(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(".d");
    PathBuf::from(name)
}

fn private_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn c_string(path: &Path) -> Result<CString, BootError> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| step(format!("use {}", path.display()), io::ErrorKind::InvalidInput.into()))
}

fn step(step: impl Into<String>, cause: io::Error) -> BootError {
    BootError::Step { step: step.into(), cause }
}

#[cfg(test)]
mod tests;
