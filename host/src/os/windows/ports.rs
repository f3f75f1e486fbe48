//! What systems differ in about ports that other computers reach.

use std::io;
use std::ops::RangeInclusive;

use socket2::Socket;

/// `WSAEAFNOSUPPORT`
const NO_FAMILY: i32 = 10_047;

/// Nothing: here old connections do not keep a port, and the option would let another program steal it.
pub(crate) fn reuse_address(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Numbers for whoever does not care: IANA's, which are also this system's.
pub(crate) fn dynamic_ports() -> RangeInclusive<u16> {
    49_152..=65_535
}

/// Whether the system has no sockets of this kind of address.
pub(crate) fn is_missing_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(NO_FAMILY)
}

/// What to do where a port is not to be had. Any user may bind low ones; ranges are reserved by other services.
pub(crate) fn low_port_hint(port: u16) -> String {
    format!(
        "this system has reserved it: publish another one, as in `-p {}:…`, or see `netsh interface ipv4 show excludedportrange protocol=tcp`",
        8000 + port
    )
}
