//! Opening a TUN device (Documentation/networking/tuntap.rst).
#![expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::ioctl::{Opcode, Setter, ioctl};

/// `_IOW('T', 202, int)`, though what it reads is a `struct ifreq` (include/uapi/linux/if_tun.h).
const TUNSETIFF: Opcode = libc::TUNSETIFF as Opcode;

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

// The kernel copies a whole `struct ifreq`, whichever part it reads.
const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

/// Makes a TUN device. One read or write of the file is one IP packet, without any header before it; neither
/// blocks. The device goes with the file.
pub(super) fn open(name: &str) -> io::Result<File> {
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short,
        rest: [0; 22],
    };
    // One byte less than there is room for: the kernel wants a NUL.
    for (to, from) in request.name[..libc::IFNAMSIZ - 1].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
    // SAFETY: the request reads a `struct ifreq`, as which `Request` is laid out, with a name that ends in NUL.
    let request = unsafe { Setter::<TUNSETIFF, Request>::new(request) };
    // SAFETY: as above.
    unsafe { ioctl(&file, request) }?;
    Ok(file)
}
