//! A running QEMU machine.

use std::io;

use super::vsock::{Vsock, VsockListener};
use crate::linux::child::{Child, Ending};
use crate::{BoxFuture, Exit, Listener, Machine, Port, Stream};

/// The child and its vsock.
pub(super) struct QemuMachine {
    child: Child,
    vsock: Vsock,
}

impl QemuMachine {
    pub(super) fn new(child: Child, vsock: Vsock) -> Self {
        Self { child, vsock }
    }
}

impl Machine for QemuMachine {
    fn connect(&self, port: Port) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(self.vsock.connect(port).await?) as Stream) })
    }

    fn listen(&self, port: Port) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(self.vsock.listen(port)?))
    }

    fn wait(&self) -> BoxFuture<'_, Exit> {
        Box::pin(self.child.wait())
    }

    fn kill(&self) {
        self.child.kill();
    }

    fn pid(&self) -> Option<u32> {
        self.child.ended().is_none().then(|| self.child.pid())
    }
}

impl Listener for VsockListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(VsockListener::accept(self).await?) as Stream) })
    }
}

/// How the machine ended, from QEMU's end and the last lines of the console.
pub(super) fn exit(ending: Ending, console: &str) -> Exit {
    // A panic and a power-off both reset the processor; the kernel says which it was.
    let panic = console.lines().rev().find(|line| line.contains("Kernel panic"));
    match (ending, panic) {
        (Ending::Code(0), None) => Exit::PoweredOff,
        (Ending::Code(0), Some(line)) => Exit::Died(line.trim().to_owned()),
        (Ending::Signal(signal), _) => Exit::Died(format!("QEMU was ended by signal {signal}")),
        (Ending::Code(code), _) => {
            Exit::Died(format!("QEMU ended with exit code {code}{}", complaint(console)))
        }
    }
}

/// QEMU's own last line, which comes out beside the console's.
pub(super) fn complaint(console: &str) -> String {
    let line = console.lines().rev().find(|line| line.starts_with("qemu-system"));
    line.map_or_else(String::new, |line| format!(": {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_apart_from_a_power_off() {
        assert_eq!(exit(Ending::Code(0), "[1.0] reboot: Restarting system\n"), Exit::PoweredOff);
        let console = "[0.5] Kernel panic - not syncing: No working init found.\r\n[0.5] Rebooting\r\n";
        let reason = "[0.5] Kernel panic - not syncing: No working init found.";
        assert_eq!(exit(Ending::Code(0), console), Exit::Died(reason.into()));
    }

    #[test]
    fn a_qemu_that_fails_is_told_in_its_own_words() {
        let console = "qemu-system-x86_64: -smp 300: Invalid SMP CPUs 300\n";
        let died = "QEMU ended with exit code 1: qemu-system-x86_64: -smp 300: Invalid SMP CPUs 300";
        assert_eq!(exit(Ending::Code(1), console), Exit::Died(died.into()));
        assert_eq!(exit(Ending::Signal(9), ""), Exit::Died("QEMU was ended by signal 9".into()));
    }
}
