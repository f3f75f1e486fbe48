//! What differs between hosts: which errors a UDP socket reports and which of its addresses was asked, and how an
//! unprivileged program pings.

#[cfg(target_os = "linux")]
#[path = "linux/errors.rs"]
pub(super) mod errors;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere/errors.rs"]
pub(super) mod errors;

#[cfg(unix)]
#[path = "unix/echo.rs"]
pub(super) mod echo;
#[cfg(windows)]
#[path = "windows/echo.rs"]
pub(super) mod echo;

#[cfg(target_os = "linux")]
#[path = "linux/addressed.rs"]
pub(super) mod addressed;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere/addressed.rs"]
pub(super) mod addressed;

/// Who has sent a datagram to a socket that serves many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    /// Its address.
    pub(super) client: std::net::SocketAddr,
    /// Which of this computer's addresses it asked, and expects the answer from. `None`: the socket has but one, or
    /// the system does not say.
    pub(super) asked: Option<std::net::IpAddr>,
}
