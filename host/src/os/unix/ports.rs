//! What systems differ in about ports that other computers reach.

use std::io;
use std::ops::RangeInclusive;

use socket2::Socket;

/// Where the kernel says which numbers it gives to programs that do not care; Linux alone does.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Docker's choice where it cannot be found out.
const USUAL: RangeInclusive<u16> = 49_153..=65_535;

/// Lets a port be bound again while old connections of it are still remembered.
pub(crate) fn reuse_address(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Numbers for whoever does not care.
pub(crate) fn dynamic_ports() -> RangeInclusive<u16> {
    let text = std::fs::read_to_string(RANGE).unwrap_or_default();
    let mut words = text.split_whitespace().map(str::parse::<u16>);
    match (words.next(), words.next()) {
        (Some(Ok(first)), Some(Ok(last))) if 0 < first && first <= last => first..=last,
        _ => USUAL,
    }
}

/// Whether the system has no sockets of this kind of address.
pub(crate) fn is_missing_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

/// What to do where a low port is not to be had.
pub(crate) fn low_port_hint(port: u16) -> String {
    format!(
        "this system keeps ports below 1024 to root: publish another one, as in `-p {}:…`, or on Linux run `sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`",
        8000 + port
    )
}
