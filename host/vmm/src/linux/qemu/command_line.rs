//! QEMU's arguments for a machine.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::accelerator::Accelerator;
use crate::MachineSpec;

/// Of the guest image.
pub(super) const KERNEL: &str = "vmlinux";
/// Of the guest image.
pub(super) const INITRAMFS: &str = "initramfs";
/// By which the guest finds its data disk; the order of devices tells nothing on this machine.
const DISK_SERIAL: &str = "holm-data";
/// No legacy devices but a clock and the interrupt hardware that the kernel measures its timer with.
const MACHINE: &str = "microvm,acpi=off,rtc=on,isa-serial=on,x-option-roms=off,memory-backend=memory";
/// A guest that powers off or panics resets the processor by a triple fault, the one way that needs no device, and
/// `-no-reboot` makes QEMU end then. QEMU adds the virtio devices.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 quiet reboot=t panic=-1";

/// All of them, without the program. The child has `vsock` open under the same number.
pub(super) fn arguments(spec: &MachineSpec, accelerator: &Accelerator, vsock: &OwnedFd) -> Vec<OsString> {
    let mut arguments = Arguments(Vec::new());
    arguments.plain(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    // A guest that breaks out of QEMU finds itself unable to start programs or to change its rights.
    arguments.plain(["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    arguments.plain(["-M", MACHINE]);
    arguments.plain(accelerator.arguments());
    arguments.plain(["-smp", &spec.cpus.to_string()]);
    let memory = format!("{}M", spec.memory.0);
    arguments.plain(["-m", &memory]);
    // Shared with this process, which moves vsock payload without QEMU.
    arguments.plain(["-object", &format!("memory-backend-memfd,id=memory,size={memory},share=on")]);

    arguments.with_path("-kernel", "", &spec.image.join(KERNEL));
    arguments.with_path("-initrd", "", &spec.image.join(INITRAMFS));
    arguments.plain(["-append", &format!("{KERNEL_ARGUMENTS}{}", accelerator.kernel_arguments())]);

    // Writes go to the page cache and a flush of the guest to fsync: an acknowledged flush survives a power loss.
    arguments.with_path(
        "-drive",
        "id=data,if=none,format=raw,cache=writeback,discard=unmap,detect-zeroes=off,file=",
        &spec.disk,
    );
    arguments.plain(["-device", &format!("virtio-blk-device,drive=data,serial={DISK_SERIAL}")]);
    arguments.plain(["-chardev", &format!("socket,id=vsock,fd={}", vsock.as_raw_fd())]);
    arguments.plain(["-device", "vhost-user-vsock-device,chardev=vsock"]);
    arguments.plain(["-object", "rng-builtin,id=random", "-device", "virtio-rng-device,rng=random"]);
    arguments.plain(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);
    arguments.0
}

struct Arguments(Vec<OsString>);

impl Arguments {
    fn plain<const N: usize>(&mut self, arguments: [&str; N]) {
        self.0.extend(arguments.map(OsString::from));
    }

    /// An option whose value ends with a path. In a value with keys (`front` ends in `=`), a comma is doubled, or what
    /// follows it would be the next key.
    fn with_path(&mut self, option: &str, front: &str, path: &Path) {
        let mut value = front.as_bytes().to_vec();
        for &byte in path.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' && front.ends_with('=') {
                value.push(byte);
            }
        }
        self.0.extend([OsStr::new(option).to_owned(), OsString::from_vec(value)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mebibytes;

    fn command_line(disk: &str) -> String {
        let spec = MachineSpec {
            run: "/run".into(),
            image: "/image,1".into(),
            disk: disk.into(),
            cpus: 2,
            memory: Mebibytes(512),
        };
        let vsock = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        let arguments = arguments(&spec, &Accelerator::Emulation { why: "a test" }, &vsock);
        arguments.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn memory_is_shared_and_as_large_as_the_machines() {
        let line = command_line("/disk.raw");
        assert!(line.contains(" -m 512M "));
        assert!(line.contains(" memory-backend-memfd,id=memory,size=512M,share=on "));
        assert!(line.contains(" -smp 2 "));
    }

    #[test]
    fn a_comma_in_a_path_starts_no_key() {
        let line = command_line("/a,readonly=on/disk.raw");
        assert!(line.contains("file=/a,,readonly=on/disk.raw "));
        assert!(line.contains(" -kernel /image,1/vmlinux -initrd /image,1/initramfs "));
    }
}
