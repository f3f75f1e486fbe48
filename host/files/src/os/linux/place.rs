//! A file or folder held by an `O_PATH` descriptor, and what is done by names in it.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags as Flags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT,
    XattrFlags,
};
use rustix::process::{Gid, Uid};

use super::{File, stat};
use crate::fuse::errno::{Errno, Outcome};
use crate::fuse::reader::Name;
use crate::fuse::reply::FileSystem;
use crate::os::{OpenMode, RenameFlags, Stat, Time};

/// A file, folder, link or anything else that exists, not opened.
#[derive(Debug)]
pub(crate) struct Place(OwnedFd);

impl Place {
    /// The share's own folder or file: the one path that is followed wherever it leads.
    pub(crate) fn open(path: &Path) -> std::io::Result<Place> {
        Ok(Place(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    /// What a descriptor has open.
    pub(super) fn of(descriptor: &OwnedFd) -> Outcome<Place> {
        let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
        Ok(Place(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?))
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub(crate) fn stat(&self) -> Outcome<Stat> {
        stat::of(&self.0)
    }

    pub(crate) fn stat_at(&self, name: Name<'_>) -> Outcome<Stat> {
        stat::at(&self.0, name.bytes())
    }

    pub(crate) fn at(&self, name: Name<'_>) -> Outcome<Place> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Place(rustix::fs::openat(&self.0, name.bytes(), flags, Mode::empty())?))
    }

    /// Opens what is held. The caller knows that it is a regular file or a folder: others would act by being opened.
    pub(crate) fn reopen(&self, mode: OpenMode) -> Outcome<File> {
        let flags = flags_of(mode) | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(File::new(rustix::fs::open(self.magic().as_str(), flags, Mode::empty())?))
    }

    pub(crate) fn reopen_folder(&self) -> Outcome<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(File::new(rustix::fs::openat(&self.0, c".", flags, Mode::empty())?))
    }

    /// Makes a regular file that must not be there yet.
    pub(crate) fn create_at(&self, name: Name<'_>, mode: OpenMode, bits: u32) -> Outcome<File> {
        let flags = flags_of(mode) | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::new(rustix::fs::openat(&self.0, name.bytes(), flags, Mode::from_raw_mode(bits & 0o7777))?))
    }

    /// Makes a file without a name.
    pub(crate) fn nameless(&self, mode: OpenMode, bits: u32) -> Outcome<File> {
        let flags = flags_of(mode) | OFlags::TMPFILE | OFlags::CLOEXEC;
        Ok(File::new(rustix::fs::openat(&self.0, c".", flags, Mode::from_raw_mode(bits & 0o7777))?))
    }

    pub(crate) fn mkdir_at(&self, name: Name<'_>, bits: u32) -> Outcome<()> {
        Ok(rustix::fs::mkdirat(&self.0, name.bytes(), Mode::from_raw_mode(bits & 0o7777))?)
    }

    pub(crate) fn mknod_at(&self, name: Name<'_>, mode: u32, rdev: u32) -> Outcome<()> {
        let device = rustix::fs::makedev(rdev >> 8 & 0xfff, rdev & 0xff | rdev >> 12 & 0xfff00);
        let bits = Mode::from_raw_mode(mode & 0o7777);
        Ok(rustix::fs::mknodat(&self.0, name.bytes(), FileType::from_raw_mode(mode), bits, device)?)
    }

    pub(crate) fn symlink_at(&self, name: Name<'_>, target: &[u8]) -> Outcome<()> {
        Ok(rustix::fs::symlinkat(target, &self.0, name.bytes())?)
    }

    pub(crate) fn unlink_at(&self, name: Name<'_>) -> Outcome<()> {
        Ok(rustix::fs::unlinkat(&self.0, name.bytes(), AtFlags::empty())?)
    }

    pub(crate) fn rmdir_at(&self, name: Name<'_>) -> Outcome<()> {
        Ok(rustix::fs::unlinkat(&self.0, name.bytes(), AtFlags::REMOVEDIR)?)
    }

    pub(crate) fn rename_at(
        &self,
        name: Name<'_>,
        to: &Place,
        new: Name<'_>,
        flags: RenameFlags,
    ) -> Outcome<()> {
        let flags = Flags::from_bits(flags.0).ok_or(Errno::INVAL)?;
        Ok(rustix::fs::renameat_with(&self.0, name.bytes(), &to.0, new.bytes(), flags)?)
    }

    /// Gives what is held another name.
    pub(crate) fn link_to(&self, folder: &Place, name: Name<'_>) -> Outcome<()> {
        let flags = AtFlags::SYMLINK_FOLLOW;
        Ok(rustix::fs::linkat(CWD, self.magic().as_str(), &folder.0, name.bytes(), flags)?)
    }

    pub(crate) fn readlink(&self) -> Outcome<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.0, c"", Vec::new())?.into_bytes())
    }

    pub(crate) fn statfs(&self) -> Outcome<FileSystem> {
        let system = rustix::fs::fstatvfs(&self.0)?;
        Ok(FileSystem {
            blocks: system.f_blocks,
            free: system.f_bfree,
            available: system.f_bavail,
            files: system.f_files,
            free_files: system.f_ffree,
            block_size: system.f_bsize as u32,
            fragment_size: system.f_frsize as u32,
        })
    }

    /// Whether a place in a listing stays good after the folder was closed. Known of these; others number the
    /// entries anew each time.
    pub(crate) fn lists_by_cookies(&self) -> bool {
        const EXT: i64 = 0xef53;
        const XFS: i64 = 0x5846_5342;
        const BTRFS: i64 = 0x9123_683e;
        const F2FS: i64 = 0xf2f5_2010;
        const ZFS: i64 = 0x2fc1_2fc1;
        rustix::fs::fstatfs(&self.0).is_ok_and(|system| [EXT, XFS, BTRFS, F2FS, ZFS].contains(&system.f_type))
    }

    pub(crate) fn chmod(&self, bits: u32) -> Outcome<()> {
        Ok(rustix::fs::chmod(self.magic().as_str(), Mode::from_raw_mode(bits & 0o7777))?)
    }

    pub(crate) fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> Outcome<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        Ok(rustix::fs::chownat(&self.0, c"", uid, gid, AtFlags::EMPTY_PATH)?)
    }

    pub(crate) fn set_times(&self, accessed: Time, modified: Time) -> Outcome<()> {
        let times = Timestamps { last_access: timespec(accessed), last_modification: timespec(modified) };
        Ok(rustix::fs::utimensat(CWD, self.magic().as_str(), &times, AtFlags::empty())?)
    }

    pub(crate) fn get_xattr(&self, name: &[u8], value: &mut [u8]) -> Outcome<usize> {
        // The generic buffer of an empty slice asks for the size.
        Ok(rustix::fs::getxattr(self.magic().as_str(), name, value)?)
    }

    /// Of the name in this folder.
    pub(crate) fn get_xattr_at(&self, entry: Name<'_>, name: &[u8], value: &mut [u8]) -> Outcome<usize> {
        let mut path = self.magic().into_bytes();
        path.push(b'/');
        path.extend_from_slice(entry.bytes());
        Ok(rustix::fs::lgetxattr(path, name, value)?)
    }

    pub(crate) fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Outcome<()> {
        let flags = XattrFlags::from_bits(flags).ok_or(Errno::INVAL)?;
        Ok(rustix::fs::setxattr(self.magic().as_str(), name, value, flags)?)
    }

    pub(crate) fn list_xattrs(&self) -> Outcome<Vec<u8>> {
        let path = self.magic();
        // Bounded by the kernel: a list is at most 64 KiB.
        let mut names = vec![0_u8; 64 << 10];
        let length = rustix::fs::listxattr(path.as_str(), names.as_mut_slice())?;
        names.truncate(length);
        Ok(names)
    }

    pub(crate) fn remove_xattr(&self, name: &[u8]) -> Outcome<()> {
        Ok(rustix::fs::removexattr(self.magic().as_str(), name)?)
    }

    /// A path that the kernel resolves to exactly what is held, whatever happened to its names.
    fn magic(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }
}

fn flags_of(mode: OpenMode) -> OFlags {
    let access = match (mode.read, mode.write) {
        (true, true) => OFlags::RDWR,
        (_, false) => OFlags::RDONLY,
        (false, true) => OFlags::WRONLY,
    };
    // A pipe put in the file's place between two calls must not hold us up.
    access | OFlags::NONBLOCK | if mode.truncate { OFlags::TRUNC } else { OFlags::empty() }
}

fn timespec(time: Time) -> Timespec {
    match time {
        Time::Keep => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Time::Now => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Time::At(seconds, nanos) => Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}
