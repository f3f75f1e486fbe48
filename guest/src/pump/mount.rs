//! Mounting a share (fuse(4)).

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use holm_api::files::DEVICE;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, fstat, open, statx};
use rustix::mount::{MountFlags, UnmountFlags, mount as mount_at, unmount as unmount_at};
use socket2::Socket;

/// Of a read in one message; the host is asked for no more.
const LARGEST_READ: usize = 1 << 20;
/// KiB that the kernel reads ahead of a program that reads in order: 1.8 times as fast as with the usual 128.
const READ_AHEAD: &str = "1024";

/// A connection that is mounted nowhere yet.
pub(super) fn device() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/fuse")
}

/// Mounts it. `allow_other`: containers' processes are anybody; `default_permissions`: the kernel checks modes and
/// owners as on any file system, the host what may be reached at all.
pub(super) fn mount(device: BorrowedFd<'_>, at: &Path, is_folder: bool) -> io::Result<()> {
    let root = if is_folder { libc::S_IFDIR } else { libc::S_IFREG };
    let options = format!(
        "fd={},rootmode={root:o},user_id=0,group_id=0,allow_other,default_permissions,max_read={LARGEST_READ}",
        device.as_raw_fd()
    );
    let options = CString::new(options).map_err(io::Error::other)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_at("holm", at, "fuse.holm", flags, options.as_c_str())?)
}

/// Gives the device to the host, which alone has it from then on: it ends with the host's daemon.
pub(super) fn hand_over(socket: &Socket, device: File) -> io::Result<()> {
    let descriptors = [device.as_raw_fd()];
    let message = [ControlMessage::ScmRights(&descriptors)];
    let byte = [IoSlice::new(&[DEVICE])];
    sendmsg::<()>(socket.as_raw_fd(), &byte, &message, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Takes it away again; what is left of it in other mount namespaces answers with errors.
pub(super) fn unmount(at: &Path) {
    if let Err(error) = unmount_at(at, UnmountFlags::DETACH) {
        tracing::warn!("{} stays mounted: {error}", at.display());
    }
}

/// Ends all requests, with errors. It stays mounted where somebody uses it.
pub(super) fn abort(at: &Path) {
    // Nothing is mounted there where its end was that of the mount.
    if let Err(error) = unmount_at(at, UnmountFlags::FORCE) {
        tracing::debug!("{}: {error}", at.display());
    }
}

/// What tells the mount from others that are or were at the place. Nobody is asked for it.
pub(super) fn number(at: &Path) -> io::Result<(u32, u32)> {
    let found = statx(CWD, at, AtFlags::STATX_DONT_SYNC | AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    Ok((found.stx_dev_major, found.stx_dev_minor))
}

/// The root, of which nothing is asked yet.
pub(super) fn open_root(at: &Path) -> io::Result<File> {
    Ok(open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// The root, asked of the host.
pub(super) fn enter(at: &Path) -> io::Result<File> {
    let root = open_root(at)?;
    fstat(&root)?;
    Ok(root)
}

/// Not by the first message's `max_readahead`: the kernel takes no more by it than it would do anyway.
pub(super) fn read_ahead(root: BorrowedFd<'_>) -> io::Result<()> {
    let device = fstat(root.as_fd())?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), READ_AHEAD)
}
