//! Sockets for ICMP echo. Linux (where `net.ipv4.ping_group_range` has the user's group) and macOS give one to
//! any program; where that is refused, root takes a raw one, and others go without.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Whose identifier an echo has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon::net) enum Ident {
    /// The kernel writes its own into requests, and hands over the replies to those only.
    Kernels,
    /// Ours; the socket may hand over other programs' replies too.
    Ours,
}

/// A non-blocking socket for echoes to `far` alone.
pub(in crate::daemon::net) fn open(far: IpAddr) -> io::Result<(UdpSocket, Ident)> {
    let (domain, protocol) = match far {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let (socket, ident) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, DATAGRAM_IDENT),
        Err(_) => (Socket::new(domain, Type::RAW, Some(protocol))?, Ident::Ours),
    };
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(far, 0).into())?;
    Ok((socket.into(), ident))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const DATAGRAM_IDENT: Ident = Ident::Kernels;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DATAGRAM_IDENT: Ident = Ident::Ours;
