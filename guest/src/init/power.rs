//! The end of the machine: nothing runs, nothing is unwritten, and then it is off.

use std::fs::File;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountFlags, UnmountFlags, mount_remount, unmount};
use rustix::system::{RebootCommand, reboot};
use tokio::signal::unix::Signal as SignalStream;
use tokio::time::{Instant, sleep, timeout_at};

use super::boot::{DATA, Place};
use super::reaper::reap;
use super::supervisor::End;

/// From SIGTERM to SIGKILL for what the engine left: shims, mostly, with nothing left to write.
const TERMINATION: Duration = Duration::from_secs(2);
/// From SIGKILL to the end of the last process. Only one that the kernel itself holds up takes longer.
const KILLING: Duration = Duration::from_secs(5);
/// A killed container's mounts go a moment after it; no event tells when.
const UNMOUNT_TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Ends every process but this one. `children` tells of SIGCHLD.
pub(super) async fn end_processes(children: &mut SignalStream) {
    for (signal, patience) in [(Signal::SIGTERM, TERMINATION), (Signal::SIGKILL, KILLING)] {
        // ESRCH: there is none. From PID 1, -1 means all that it can see.
        if std::process::id() != 1 || kill(Pid::from_raw(-1), signal).is_err() {
            return;
        }
        let deadline = Instant::now() + patience;
        while !reap(None).childless {
            match timeout_at(deadline, children.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => break,
            }
        }
    }
}

/// Writes the data to the disk and unmounts it. Logs what does not work: there is nobody left to decide.
pub(super) async fn close_data() {
    let data = Path::new(DATA);
    // First of all: whatever goes wrong below, this much is written.
    if let Err(error) = File::open(data).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?)) {
        tracing::error!(%error, "the data cannot be written to the disk");
    }
    for _ in 0..UNMOUNT_TRIES {
        match unmount(data, UnmountFlags::empty()) {
            Err(rustix::io::Errno::BUSY) => sleep(BETWEEN_TRIES).await,
            // EINVAL: it was never mounted.
            Ok(()) | Err(rustix::io::Errno::INVAL) => return,
            Err(error) => {
                tracing::error!(%error, "the data disk cannot be unmounted");
                break;
            }
        }
    }
    match mount_remount(data, MountFlags::RDONLY, c"") {
        Ok(()) => tracing::warn!("the data disk is in use, and now read-only"),
        Err(error) => {
            tracing::error!(%error, "the data disk is in use; its journal is replayed at the next boot")
        }
    }
}

/// Switches the machine off. A process ends with the code that this returns.
pub(super) fn off(place: &Place, end: End) -> ExitCode {
    if *place == Place::Machine {
        let acpi = Path::new("/sys/firmware/acpi").exists();
        if let Err(error) = reboot(command(std::env::consts::ARCH, acpi)) {
            // PID 1 returns from here, at which the kernel panics; the host sees that end too.
            tracing::error!(%error, "the machine cannot be switched off");
        }
    }
    match end {
        End::Orderly => ExitCode::SUCCESS,
        End::Failed => ExitCode::FAILURE,
    }
}

/// What ends this kind of machine. Without ACPI a PC cannot switch itself off, and a kernel asked to would only
/// halt; but it can reset itself, and the host's VMM ends at that (QEMU's `-no-reboot`). Trying one after the
/// other is not possible: a halt does not come back. Everything else has a firmware call (PSCI, on arm64).
fn command(arch: &str, acpi: bool) -> RebootCommand {
    if arch == "x86_64" && !acpi { RebootCommand::Restart } else { RebootCommand::PowerOff }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pc_without_acpi_is_reset_and_others_are_switched_off() {
        assert!(matches!(command("x86_64", false), RebootCommand::Restart));
        assert!(matches!(command("x86_64", true), RebootCommand::PowerOff));
        assert!(matches!(command("aarch64", false), RebootCommand::PowerOff));
    }
}
