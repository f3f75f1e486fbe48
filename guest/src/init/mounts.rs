//! The file systems that every Linux program expects, cgroups and the data disk aside.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_move, mount_remount};

use super::boot::{BootError, Place, failed};

/// One mount.
struct Mount {
    kind: &'static str,
    at: &'static str,
    flags: MountFlags,
    data: &'static CStr,
}

const STRICT: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

const PROC: Mount = Mount { kind: "proc", at: "/proc", flags: STRICT, data: c"" };
/// Fresh in a process too: it shows the interfaces of the network namespace it was mounted in.
const SYS: Mount = Mount { kind: "sysfs", at: "/sys", flags: STRICT, data: c"" };
const DEV: Mount = Mount { kind: "devtmpfs", at: "/dev", flags: MountFlags::NOSUID, data: c"mode=755" };
/// In a process: devtmpfs is one for the whole kernel, so whatever we changed in it would change on the host.
const PRIVATE_DEV: Mount = Mount { kind: "tmpfs", at: "/dev", flags: MountFlags::NOSUID, data: c"mode=755" };
const PTS: Mount = Mount {
    kind: "devpts",
    at: "/dev/pts",
    flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
    data: c"newinstance,ptmxmode=0666,mode=0620,gid=5",
};
const SHM: Mount = Mount { kind: "tmpfs", at: "/dev/shm", flags: NO_DEVICES, data: c"mode=1777" };
const MQUEUE: Mount = Mount { kind: "mqueue", at: "/dev/mqueue", flags: STRICT, data: c"" };
const RUN: Mount = Mount { kind: "tmpfs", at: "/run", flags: NO_DEVICES, data: c"mode=755" };
const TMP: Mount = Mount { kind: "tmpfs", at: "/tmp", flags: NO_DEVICES, data: c"mode=1777" };

const MACHINE: [Mount; 8] = [PROC, SYS, DEV, PTS, SHM, MQUEUE, RUN, TMP];
/// The private root is a tmpfs already, and the folder of sockets waits below its `/run`.
const PROCESS: [Mount; 6] = [PROC, SYS, PRIVATE_DEV, PTS, SHM, MQUEUE];

/// Device nodes of a private `/dev`: name, major, minor (Documentation/admin-guide/devices.txt).
const NODES: [(&str, u32, u32); 8] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
    ("net/tun", 10, 200),
    ("fuse", 10, 229),
];

/// Lets containers pivot_root(2): the kernel refuses that while the initramfs is the root, because nothing lies
/// under it. Bound onto a folder of its own and moved over the root, it is a mount like any other.
pub(super) fn make_root_pivotable() -> Result<(), BootError> {
    let steps = || -> io::Result<()> {
        fs::create_dir_all("/root.new")?;
        mount_bind_recursive("/", "/root.new")?;
        rustix::process::chdir("/root.new")?;
        mount_move(".", "/")?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")?;
        // Empty in the new root too, and seen by nobody but a confused reader.
        fs::remove_dir("/root.new")
    };
    steps().map_err(failed("make the root a mount of its own"))
}

/// Keeps a file from being written to through what is started from it. A container can get at this program: its
/// `--init` is one, and so is whatever says `/proc/self/exe` in there; its `/proc/<pid>/exe` leads to the mount
/// that it was started from (CVE-2019-5736).
pub(super) fn make_read_only(file: &Path) -> Result<(), BootError> {
    let step = || failed(format!("make {} read-only", file.display()));
    mount_bind(file, file).map_err(step())?;
    mount_remount(file, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NODEV, c"").map_err(step())
}

/// Mounts them in their order.
pub(super) fn mount_all(place: &Place) -> Result<(), BootError> {
    match place {
        Place::Machine => MACHINE.iter().try_for_each(Mount::perform),
        Place::Process { .. } => {
            let (before, after) = PROCESS.split_at(3);
            before.iter().try_for_each(Mount::perform)?;
            make_nodes(Path::new("/dev")).map_err(failed("make the devices in /dev"))?;
            after.iter().try_for_each(Mount::perform)
        }
    }?;
    fs::create_dir_all(super::boot::RUN).map_err(failed("make the folder of sockets"))
}

impl Mount {
    fn perform(&self) -> Result<(), BootError> {
        let step = || failed(format!("mount {} on {}", self.kind, self.at));
        fs::create_dir_all(self.at).map_err(|error| step()(error))?;
        mount(self.kind, self.at, self.kind, self.flags, self.data)
            .map_err(|errno| step()(io::Error::from(errno)))
    }
}

fn make_nodes(dev: &Path) -> io::Result<()> {
    fs::create_dir(dev.join("net"))?;
    for (name, major, minor) in NODES {
        let path = dev.join(name);
        mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
        // Whatever the umask took away.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))?;
    }
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_mounted_on_what_is_mounted_over_later() {
        for list in [&MACHINE[..], &PROCESS[..]] {
            for (place, mount) in list.iter().enumerate() {
                let hides = |earlier: &Mount| Path::new(earlier.at).starts_with(mount.at);
                assert!(!list[..place].iter().any(hides), "{}", mount.at);
            }
        }
    }

    #[test]
    fn devices_come_between_their_file_system_and_what_is_mounted_in_it() {
        assert_eq!(PROCESS[2].at, "/dev");
    }
}
