//! Windows has no sockets for ICMP echo without administrator's rights, so echoes to the outside are dropped.

use std::io;
use std::net::{IpAddr, UdpSocket};

/// Whose identifier an echo has on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::daemon::net) enum Ident {
    /// Ours.
    Ours,
    /// The system's.
    #[expect(dead_code, reason = "only other systems have it")]
    Kernels,
}

/// Always [`io::ErrorKind::Unsupported`].
pub(in crate::daemon::net) fn open(_: IpAddr) -> io::Result<(UdpSocket, Ident)> {
    Err(io::ErrorKind::Unsupported.into())
}
