//! What differs between hosts: which errors a UDP socket reports, and how an unprivileged program pings.

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
