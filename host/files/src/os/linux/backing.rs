//! `FUSE_DEV_IOC_BACKING_OPEN` (include/uapi/linux/fuse.h): files that the kernel reads without asking us.
#![expect(unsafe_code, reason = "ioctl(2) has no safe wrapper")]

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::libc;

use crate::Backing;

/// `struct fuse_backing_map`.
#[repr(C)]
struct Map {
    descriptor: i32,
    flags: u32,
    padding: u64,
}

const OPEN: libc::c_ulong = nix::request_code_write!(229, 1, size_of::<Map>());
const CLOSE: libc::c_ulong = nix::request_code_write!(229, 2, size_of::<u32>());

/// The device of one mount, by which its kernel is told what it may read. Root alone may tell it.
#[derive(Debug)]
pub struct DeviceBacking {
    device: OwnedFd,
    open: Mutex<HashSet<u32>>,
}

impl DeviceBacking {
    /// Of `/dev/fuse`, opened for the mount.
    pub fn new(device: BorrowedFd<'_>) -> io::Result<DeviceBacking> {
        Ok(DeviceBacking { device: device.try_clone_to_owned()?, open: Mutex::default() })
    }

    fn end(&self, number: u32) {
        // SAFETY: the number lives for the call, and the device as long as this. An error: it is not open any more.
        let _ = unsafe { libc::ioctl(self.device.as_raw_fd(), CLOSE, &raw const number) };
    }
}

impl Backing for DeviceBacking {
    fn open(&self, file: BorrowedFd<'_>) -> io::Result<u32> {
        let map = Map { descriptor: file.as_raw_fd(), flags: 0, padding: 0 };
        // SAFETY: as laid out by the kernel, and both descriptors are open for the call.
        let number = Errno::result(unsafe { libc::ioctl(self.device.as_raw_fd(), OPEN, &raw const map) })?;
        let number = u32::try_from(number).map_err(io::Error::other)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
        Ok(number)
    }

    fn close(&self, number: u32) {
        if self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number) {
            self.end(number);
        }
    }
}

impl Drop for DeviceBacking {
    fn drop(&mut self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for number in open {
            self.end(number);
        }
    }
}
