//! Sockets for ICMP echo. Linux (where `net.ipv4.ping_group_range` has the user's group) and macOS give one to
//! any program; where that is refused, root takes a raw one, and others go without.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A non-blocking socket for echoes to `far` alone, and the identifier they have on the wire: `ours` where the
/// socket may hand over other programs' replies too, `None` where the kernel writes one into requests and
/// hands over the replies to those only.
pub(in crate::daemon::net) fn open(far: IpAddr, ours: u16) -> io::Result<(UdpSocket, Option<u16>)> {
    let (domain, protocol) = match far {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let (socket, ident) = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Ok(socket) => (socket, (!KERNEL_IDENTIFIES).then_some(ours)),
        Err(_) => (Socket::new(domain, Type::RAW, Some(protocol))?, Some(ours)),
    };
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(far, 0).into())?;
    Ok((socket.into(), ident))
}

/// What Linux does with datagram sockets, and macOS does not.
const KERNEL_IDENTIFIES: bool = cfg!(target_os = "linux");
