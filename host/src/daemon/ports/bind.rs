//! Sockets of the computer's for published ports.

use std::io;
use std::net::SocketAddr;

use holm_api::services::Protocol;
use socket2::{Domain, Type};
use tokio::net::{TcpListener, UdpSocket};

use crate::os;

/// Clients that the kernel lets wait until they are accepted.
const BACKLOG: i32 = 4_096;

/// A bound socket, which does not block.
pub(super) enum Socket {
    /// And listens.
    Tcp(TcpListener),
    /// For datagrams.
    Udp(UdpSocket),
}

/// Binds a socket of this address alone: an IPv6 one takes no IPv4. Needs a tokio runtime.
pub(super) fn bind(protocol: Protocol, address: SocketAddr) -> io::Result<Socket> {
    let kind = match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = socket2::Socket::new(Domain::for_address(address), kind, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    match protocol {
        Protocol::Tcp => {
            os::reuse_address(&socket)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(Socket::Tcp(TcpListener::from_std(socket.into())?))
        }
        // Not reused: two sockets would share the port, and one of them get nothing.
        Protocol::Udp => {
            socket.bind(&address.into())?;
            Ok(Socket::Udp(UdpSocket::from_std(socket.into())?))
        }
    }
}

/// Whether the computer does not have this family of addresses.
pub(super) fn is_missing_family(error: &io::Error) -> bool {
    // No socket of the family, or no address of it.
    matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable)
        || os::is_missing_family(error)
}
