//! Opening a TUN device (Documentation/networking/tuntap.rst).
#![expect(unsafe_code, reason = "TUNSETIFF and its like have no safe wrapper")]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl};

/// `_IOW('T', 202, int)`, though what it reads is a `struct ifreq` (include/uapi/linux/if_tun.h).
const TUNSETIFF: Opcode = libc::TUNSETIFF as Opcode;
/// `_IOW('T', 208, unsigned int)`, though its argument is the number itself.
const TUNSETOFFLOAD: Opcode = libc::TUNSETOFFLOAD as Opcode;
/// `_IOW('T', 220, int)`.
const TUNSETVNETLE: Opcode = libc::TUNSETVNETLE as Opcode;
/// The reader takes packets without a checksum, and TCP segments that are not yet cut to size.
const OFFLOADS: usize =
    (libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN) as usize;

/// `struct ifreq` as TUNSETIFF reads it.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

// The kernel copies a whole `struct ifreq`, whichever part it reads.
const _: () = assert!(size_of::<Request>() == size_of::<libc::ifreq>());

/// Makes a TUN device. One read or write of the file is one IP packet behind a [`holm_api::network::Offload`];
/// neither blocks. The device goes with the file.
pub(super) fn open(name: &str) -> io::Result<File> {
    let mut request = Request {
        name: [0; libc::IFNAMSIZ],
        flags: (libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR) as libc::c_short,
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
    // SAFETY: the request reads an `int`.
    let little_endian = unsafe { Setter::<TUNSETVNETLE, libc::c_int>::new(1) };
    // SAFETY: as above.
    unsafe { ioctl(&file, little_endian) }?;
    // SAFETY: the request takes a number and no pointer.
    let offloads = unsafe { IntegerSetter::<TUNSETOFFLOAD>::new_usize(OFFLOADS) };
    // SAFETY: as above.
    unsafe { ioctl(&file, offloads) }?;
    Ok(file)
}
