//! The file system of a volume with options: mounted at its data when the first user comes, unmounted when the
//! last one goes. An engine that is started again finds it mounted and is told who still uses it.

use std::ffi::CString;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use rustix::fs::{AtFlags, CWD, OFlags, StatxAttributes, StatxFlags, statx};
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};

use super::options::FileSystem;
use super::{Volume, VolumeName, Volumes};
use crate::inside;

/// How long somebody waits who wants to mount what another one mounts or unmounts at the moment.
const PATIENCE: Duration = Duration::from_secs(10);

/// Taken by one at a time, and not waited for without end: whoever has it may wait for a server that is gone.
#[derive(Debug, Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

/// Has it until dropped.
struct Taken<'a>(&'a Turn);

impl Turn {
    fn take(&self) -> Option<Taken<'_>> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.free.wait_timeout_while(taken, PATIENCE, |taken| *taken);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        (!std::mem::replace(&mut *taken, true)).then_some(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

/// Why a volume's file system cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountError {
    /// The volume is gone.
    #[error("get {0}: no such volume")]
    Absent(VolumeName),
    /// A folder of the computer's, which this machine does not see: it has to be shared instead.
    #[error("volume {0} is a folder of this computer, which the machine does not see")]
    HostFolder(VolumeName),
    /// Another container's start waits for the same file system, and nothing comes.
    #[error("volume {0} is being mounted, and its server does not answer")]
    Busy(VolumeName),
    /// Its server's name leads nowhere.
    #[error("error resolving passed in network volume address: {server}: {cause}")]
    Server {
        /// As it is in the options.
        server: String,
        /// Why.
        cause: io::Error,
    },
    /// The kernel refuses.
    #[error("failed to mount local volume: {shown}: {}", in_words(.cause))]
    Mount {
        /// What, where and how.
        shown: String,
        /// Why.
        cause: io::Error,
    },
}

impl MountError {
    /// What the kernel would say of a file system at a volume's data, where somebody else met the obstacle.
    pub(crate) fn kernel(file_system: &FileSystem, at: &Path, why: Errno) -> Self {
        Self::Mount { shown: file_system.shown(at), cause: why.into() }
    }
}

/// As Go words an error of the kernel's.
fn in_words(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return error.to_string() };
    let text = Errno::from_raw(number).desc();
    let (first, rest) = text.split_at(1);
    first.to_lowercase() + rest
}

impl Volumes {
    /// Makes the volume's data reachable for `user`, mounting its file system where it has one. `computer` is where
    /// the computer's own folders are. May wait for a server for as long as the kernel does: call it on a thread
    /// of its own.
    pub(crate) fn mount(
        &self,
        name: &VolumeName,
        user: &str,
        computer: Option<&Path>,
    ) -> Result<(), MountError> {
        let absent = || MountError::Absent(name.clone());
        let (volume, turn) = {
            let table = self.table();
            let entry = table.get(name).ok_or_else(absent)?;
            (entry.volume.clone(), entry.mounting.clone())
        };
        let Some(file_system) = volume.file_system() else { return Ok(()) };
        let _taken = turn.take().ok_or_else(|| MountError::Busy(name.clone()))?;
        let data = self.data(name);
        if !is_mounted(&data) {
            mount_at(&volume, file_system, &data, computer)?;
        }
        let mut table = self.table();
        let entry = table.get_mut(name).ok_or_else(absent)?;
        entry.mounted_by.insert(user.to_owned());
        Ok(())
    }

    /// A user of an earlier engine's, who has the volume mounted.
    pub(crate) fn adopt(&self, name: &VolumeName, user: &str) {
        if let Some(entry) = self.table().get_mut(name)
            && entry.volume.file_system().is_some()
        {
            entry.mounted_by.insert(user.to_owned());
        }
    }

    /// `user` is done with the volume; its file system goes with the last one. Blocks.
    pub(crate) fn unmount(&self, name: &VolumeName, user: &str) -> io::Result<()> {
        let turn = match self.table().get(name) {
            Some(entry) if !entry.mounted_by.is_empty() => entry.mounting.clone(),
            _ => return Ok(()),
        };
        let Some(_taken) = turn.take() else {
            // Somebody mounts it at this moment, and will be its last user instead.
            if let Some(entry) = self.table().get_mut(name) {
                entry.mounted_by.remove(user);
            }
            return Ok(());
        };
        let last = self
            .table()
            .get_mut(name)
            .is_some_and(|entry| entry.mounted_by.remove(user) && entry.mounted_by.is_empty());
        if last { detach(&self.data(name)) } else { Ok(()) }
    }

    /// Unmounts what an earlier engine left mounted for nobody. Blocks.
    pub(crate) fn unmount_leftovers(&self) {
        for volume in self.list().iter().filter(|volume| volume.file_system().is_some()) {
            let used = self.table().get(&volume.name).is_some_and(|entry| !entry.mounted_by.is_empty());
            let data = self.data(&volume.name);
            if !used
                && is_mounted(&data)
                && let Err(error) = detach(&data)
            {
                tracing::warn!("{} stays mounted: {error}", data.display());
            }
        }
    }
}

fn mount_at(
    volume: &Volume,
    mut wanted: FileSystem,
    at: &Path,
    computer: Option<&Path>,
) -> Result<(), MountError> {
    if wanted.is_bind() && computer.is_none() {
        return Err(MountError::HostFolder(volume.name.clone()));
    }
    if let Some(server) = wanted.server().map(str::to_owned) {
        let address =
            resolve(&server).map_err(|cause| MountError::Server { server: server.clone(), cause })?;
        wanted = wanted.at(&server, address);
    }
    let mounted = match computer.filter(|_| wanted.is_bind()) {
        Some(computer) => bind(&wanted, at, computer),
        None => {
            let data = CString::new(wanted.data.as_str()).map_err(io::Error::from);
            data.and_then(|data| {
                Ok(mount(wanted.device.as_str(), at, wanted.kind.as_str(), wanted.flags, data.as_c_str())?)
            })
        }
    };
    mounted.map_err(|cause| MountError::Mount { shown: wanted.shown(at), cause })
}

fn bind(wanted: &FileSystem, at: &Path, computer: &Path) -> io::Result<()> {
    let root = inside::root(computer)?;
    let folder = inside::find(&root, Path::new(&wanted.device), OFlags::PATH)?;
    // The link in /proc leads to what was opened, wherever its path leads by now.
    let source = format!("/proc/self/fd/{}", folder.as_raw_fd());
    match wanted.flags.contains(MountFlags::REC) {
        true => mount_bind_recursive(source, at)?,
        false => mount_bind(source, at)?,
    }
    let more = wanted.flags.difference(MountFlags::BIND | MountFlags::REC);
    if !more.is_empty() {
        // A bind takes its flags only by a second step.
        mount_remount(at, MountFlags::BIND | more, c"").inspect_err(|_| drop(detach(at)))?;
    }
    Ok(())
}

fn resolve(server: &str) -> io::Result<IpAddr> {
    let mut addresses = (server, 0).to_socket_addrs()?;
    addresses.next().map(|address| address.ip()).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Whether something is mounted at this very folder.
pub(super) fn is_mounted(path: &Path) -> bool {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT, StatxFlags::empty())
        .is_ok_and(|stat| stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Takes it out of sight at once; a server that is gone must not keep us waiting.
fn detach(path: &Path) -> io::Result<()> {
    Ok(unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}
