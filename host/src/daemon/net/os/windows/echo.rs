//! Windows has no sockets for ICMP echo without administrator's rights, so echoes to the outside are dropped.

use std::io;
use std::net::{IpAddr, UdpSocket};

/// Always [`io::ErrorKind::Unsupported`].
pub(in crate::daemon::net) fn open(_far: IpAddr, _ours: u16) -> io::Result<(UdpSocket, Option<u16>)> {
    Err(io::ErrorKind::Unsupported.into())
}
