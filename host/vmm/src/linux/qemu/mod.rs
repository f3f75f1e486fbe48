//! The backend `qemu`: a virtual machine on any Linux host, by the processor's virtualization where there is one and
//! by emulation elsewhere. QEMU's `microvm` has no firmware and no PCI bus, so the kernel starts at once.

mod accelerator;
mod command_line;
mod machine;
mod spawn;
mod vsock;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use self::accelerator::Accelerator;
use self::machine::QemuMachine;
use self::spawn::spawn;
use self::vsock::Vsock;
use super::child::{Child, Started};
use super::console::Console;
use super::disk_lock::DiskLock;
use super::leftover::{self, Identity};
use crate::{BootError, Features, Hypervisor, Machine, MachineSpec};

const NAME: &str = "qemu";
const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// From exec to QEMU's first question about our device; it takes 0.1 s on a quiet computer.
const LONGEST_START: Duration = Duration::from_secs(30);
/// From closing its devices to its exit, with a disk to be flushed between.
const LONGEST_END: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };
/// A QEMU that could not start is noticed this soon.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Bytes of console that are looked at for the reason of an end.
const LAST_WORDS: usize = 4096;

/// Runs the guest in a virtual machine.
pub(crate) struct Qemu;

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        NAME
    }

    fn features(&self) -> Features {
        let emulation = match Accelerator::of_this_host() {
            Accelerator::Kvm => None,
            Accelerator::Emulation { why } => Some(format!("QEMU's translator (TCG), for {why}")),
        };
        Features { own_kernel: true, emulation }
    }

    fn end_leftover(&self, spec: &MachineSpec) -> Result<(), BootError> {
        leftover::end(&spec.run)
    }

    fn boot(&self, spec: &MachineSpec) -> Result<Box<dyn Machine>, BootError> {
        for part in [command_line::KERNEL, command_line::INITRAMFS] {
            let path = spec.image.join(part);
            if !path.is_file() {
                return Err(BootError::ImageIncomplete(path));
            }
        }
        let lock = DiskLock::take(&spec.disk)?;
        let (vsock, vsock_socket, negotiated) =
            Vsock::start(&spec.run).map_err(|cause| step("start the vsock device", cause))?;
        let (console, output) = io::pipe().map_err(|cause| step("make a pipe", cause))?;
        let console =
            Console::keep(&spec.run, console).map_err(|cause| step("open the console log", cause))?;

        let inherited = Inherited {
            vsock: vsock_socket,
            lock: lock.as_fd().try_clone_to_owned().map_err(|cause| step("copy a descriptor", cause))?,
        };
        let arguments = command_line::arguments(spec, &Accelerator::of_this_host(), &inherited.vsock);
        let run = spec.run.clone();
        let start = move || {
            let mut command = Command::new(PROGRAM);
            let errors = output.try_clone().map_err(|cause| step("copy a descriptor", cause))?;
            command.args(arguments).stdin(Stdio::null()).stdout(output).stderr(errors);
            let started = start_child(command, inherited)?;
            record(started.pid, &run);
            Ok(started)
        };
        let run = spec.run.clone();
        let finish = move |ending| {
            leftover::forget(&run);
            // Whoever gets it may boot the next machine.
            drop(lock);
            machine::exit(ending, &console.finish(LAST_WORDS))
        };
        let child = Child::keep(NAME, start, finish)?;
        await_start(&child, &negotiated)?;
        // The device ends shortly before QEMU does. If it ends alone, the machine can be neither used nor stopped.
        vsock.when_ended(child.ender(LONGEST_END));
        Ok(Box::new(QemuMachine::new(child, vsock)))
    }
}

/// What QEMU gets beside its standard streams.
struct Inherited {
    vsock: OwnedFd,
    /// Held by QEMU only so that the lock lasts as long as QEMU does.
    lock: OwnedFd,
}

fn start_child(command: Command, inherited: Inherited) -> Result<Started, BootError> {
    let child = spawn(command, &[inherited.vsock.as_fd(), inherited.lock.as_fd()]).map_err(|cause| {
        if cause.kind() == io::ErrorKind::NotFound {
            BootError::ProgramMissing { program: PROGRAM.into(), package: PACKAGE.into() }
        } else {
            step(format!("start {PROGRAM}"), cause)
        }
    })?;
    // Not reaped yet, so the number is still its own.
    let descriptor = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
        .map_err(|error| step(format!("watch {PROGRAM}"), error.into()))?;
    Ok(Started { pid: child.id(), descriptor })
}

fn record(pid: u32, run: &Path) {
    // Not fatal: without it, a leftover of ours is known by its lock on the disk alone.
    if let Err(error) = Identity::of(pid).and_then(|identity| identity.record(run)) {
        tracing::warn!(%error, "the machine's process id cannot be recorded");
    }
}

/// Waits until QEMU has taken the device, or has ended because it could not.
fn await_start(child: &Child, negotiated: &mpsc::Receiver<()>) -> Result<(), BootError> {
    let deadline = Instant::now() + LONGEST_START;
    let cause = loop {
        match negotiated.recv_timeout(BETWEEN_LOOKS) {
            Ok(()) => return Ok(()),
            // The device has ended because QEMU is about to.
            Err(mpsc::RecvTimeoutError::Disconnected) => thread::sleep(BETWEEN_LOOKS),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        match child.ended() {
            Some(exit) => break io::Error::other(exit.to_string()),
            None if Instant::now() > deadline => break io::ErrorKind::TimedOut.into(),
            None => {}
        }
    };
    Err(step(format!("start {PROGRAM}"), cause))
}

fn step(step: impl Into<String>, cause: io::Error) -> BootError {
    BootError::Step { step: step.into(), cause }
}
