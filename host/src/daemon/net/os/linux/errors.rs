//! Which datagram an ICMP error was about: Linux keeps that on the socket's error queue (`IP_RECVERR`, ip(7)).
//! Without it, a socket that talks to many learns of no error at all.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockaddrLike, SockaddrStorage, recvmsg, setsockopt,
};

/// Errors taken at once; the kernel bounds the queue by the socket's receive buffer.
const MOST: usize = 64;

/// Asks for the errors of a socket.
pub(in crate::daemon::net) fn enable(socket: &UdpSocket, v4: bool) -> io::Result<()> {
    match v4 {
        true => setsockopt(socket, Ipv4RecvErr, &true)?,
        false => setsockopt(socket, Ipv6RecvErr, &true)?,
    }
    Ok(())
}

/// The errors that have come, each with the address the datagram was sent to.
pub(in crate::daemon::net) fn take(socket: &impl AsRawFd) -> Vec<(SocketAddr, io::Error)> {
    let mut errors = Vec::new();
    while errors.len() < MOST {
        // The datagram itself comes back too, as far as there is room for it: none is wanted.
        let mut nothing = [0; 1];
        let mut parts = [IoSliceMut::new(&mut nothing)];
        let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        let Ok(message) =
            recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags)
        else {
            break;
        };
        let Some(target) = message.address.as_ref().and_then(address) else { continue };
        for part in message.cmsgs().into_iter().flatten() {
            let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) =
                part
            else {
                continue;
            };
            errors.push((target, io::Error::from_raw_os_error(error.ee_errno as i32)));
        }
    }
    errors
}

/// The kernel's address in the standard library's form.
pub(super) fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match storage.family()? {
        AddressFamily::Inet => storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into())),
        AddressFamily::Inet6 => storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())),
        _ => None,
    }
}
