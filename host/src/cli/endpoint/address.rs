//! Addresses as `DOCKER_HOST` has them.

use std::fmt;
use std::path::PathBuf;

use super::ssh::SshHost;

/// What addresses of sockets start with on this system.
#[cfg(unix)]
pub(super) const SOCKET_SCHEME: &str = "unix://";
/// What addresses of sockets start with on this system.
#[cfg(windows)]
pub(super) const SOCKET_SCHEME: &str = "npipe://";
/// Docker's own socket.
#[cfg(unix)]
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Docker's own pipe.
#[cfg(windows)]
const DEFAULT_SOCKET: &str = "//./pipe/docker_engine";
/// Docker's ports: in the open, and with TLS.
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// An address that has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Socket(PathBuf),
    Tcp { host: String, port: u16 },
    Ssh(SshHost),
}

impl Address {
    /// Reads `unix:///path`, `tcp://host:port`, `host:port` or `ssh://user@host`.
    pub(super) fn parse(text: &str, secured: bool) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix(SOCKET_SCHEME) {
            return Ok(Self::Socket(PathBuf::from(if path.is_empty() { DEFAULT_SOCKET } else { path })));
        }
        let invalid = || format!("invalid bind address format: {text}");
        let rest = match text.split_once("://") {
            Some(("tcp", rest)) => rest,
            Some(("ssh", rest)) => return SshHost::parse(rest).map(Self::Ssh),
            Some(("unix" | "npipe" | "fd" | "http" | "https", _)) => {
                return Err(format!(
                    "unable to connect to {text}: only {SOCKET_SCHEME}, tcp:// and ssh:// addresses are supported here"
                ));
            }
            Some(_) => return Err(invalid()),
            None => text,
        };
        let rest = rest.split('/').next().unwrap_or_default();
        let usual = if secured { TLS_PORT } else { PORT };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':').unwrap_or_default()),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let port = if port.is_empty() { usual } else { port.parse().map_err(|_| invalid())? };
        let host = if host.is_empty() { "localhost" } else { host };
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "{SOCKET_SCHEME}{}", path.display()),
            Self::Ssh(host) => write!(f, "{host}"),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn addresses_get_what_they_leave_out() {
        let shown = |text: &str, secured| Address::parse(text, secured).unwrap().to_string();
        assert_eq!(shown("unix:///x", false), "unix:///x");
        assert_eq!(shown("unix://", false), "unix:///var/run/docker.sock");
        assert_eq!(shown("tcp://h", false), "tcp://h:2375");
        assert_eq!(shown("tcp://h", true), "tcp://h:2376");
        assert_eq!(shown("10.0.0.1:99", false), "tcp://10.0.0.1:99");
        assert_eq!(shown("tcp://[::1]:99/path", false), "tcp://[::1]:99");
        assert_eq!(shown("tcp://", false), "tcp://localhost:2375");
        assert!(Address::parse("tcp://h:x", false).is_err());
    }
}
