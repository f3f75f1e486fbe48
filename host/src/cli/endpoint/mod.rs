//! Where the daemon listens: what flags, variables and contexts say, and what is meant by nothing.
//!
//! ```text
//!   -H  ─┐
//!   --context, HOLM_HOST, DOCKER_HOST, DOCKER_CONTEXT  ─► the first that is there
//!   the current context (called as docker)  ─┘           else our own daemon's socket
//! ```

mod address;
mod ssh;
mod tls;

use std::path::{Path, PathBuf};

use super::context::store::Context;
use super::error::CliError;
use address::Address;
pub(crate) use ssh::SshHost;
pub(crate) use tls::{Files, Identity, check_material};

/// A daemon's address.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// How it is reached.
    pub(crate) transport: Transport,
    /// As it is shown: `unix:///run/docker.sock`.
    pub(crate) host: String,
    /// Whether the user named it. Only a daemon that was not named is started on demand.
    pub(crate) explicit: bool,
}

/// How a daemon is reached.
#[derive(Clone, Debug)]
pub(crate) enum Transport {
    /// A Unix socket, or a named pipe as a path.
    Socket(PathBuf),
    /// A port, and who we are there where it is secured.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// What TLS needs; without it, the connection is in the open.
        tls: Option<Identity>,
    },
    /// Through a login on another computer.
    Ssh(SshHost),
}

impl Endpoint {
    /// Our own daemon's socket.
    pub(crate) fn own(home: &Path) -> Self {
        let path = home.join("run").join("docker.sock");
        let host = format!("{}{}", address::SOCKET_SCHEME, path.display());
        Self { transport: Transport::Socket(path), host, explicit: false }
    }

    /// A daemon that is named by its address. `files` are asked for only where TLS is wanted.
    pub(crate) fn named(host: &str, files: Option<&Files>) -> Result<Self, CliError> {
        let address = Address::parse(host, files.is_some()).map_err(unresolved)?;
        let identity = match (&address, files) {
            (Address::Tcp { .. }, Some(files)) => Some(files.read().map_err(unresolved)?),
            _ => None,
        };
        Ok(Self::at(address, identity))
    }

    /// The daemon of a context, with the TLS material that is kept with it. One that leads to our own socket is
    /// our own daemon, and started on demand.
    pub(crate) fn of_context(
        context: &Context,
        material: &[(&'static str, Vec<u8>)],
        home: &Path,
    ) -> Result<Self, CliError> {
        let secured = !material.is_empty() || context.trusts_anybody();
        let address = Address::parse(context.host(), secured).map_err(unresolved)?;
        let identity = match &address {
            Address::Tcp { .. } if secured => {
                Some(Identity::new(material, !context.trusts_anybody()).map_err(unresolved)?)
            }
            _ => None,
        };
        let own = Self::own(home);
        let endpoint = Self::at(address, identity);
        Ok(if endpoint.host == own.host { own } else { endpoint })
    }

    fn at(address: Address, tls: Option<Identity>) -> Self {
        let host = address.to_string();
        let transport = match address {
            Address::Socket(path) => Transport::Socket(path),
            Address::Ssh(host) => Transport::Ssh(host),
            Address::Tcp { host, port } => Transport::Tcp { host, port, tls },
        };
        Self { transport, host, explicit: true }
    }
}

fn unresolved(why: String) -> CliError {
    CliError::said(format!("Failed to initialize: unable to resolve docker endpoint: {why}"))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_context_that_leads_to_our_socket_is_our_own_daemon() {
        let home = Path::new("/home/me/.holm");
        let to = |host: &str| {
            let context = Context::new("x", "", json!({"Host": host, "SkipTLSVerify": false}));
            Endpoint::of_context(&context, &[], home).unwrap()
        };
        assert!(!to("unix:///home/me/.holm/run/docker.sock").explicit);
        assert!(to("unix:///var/run/docker.sock").explicit);
        assert!(matches!(to("tcp://h:1").transport, Transport::Tcp { tls: None, .. }));
    }

    #[test]
    fn an_address_that_cannot_be_served_is_named_in_the_error() {
        let error = |host: &str| Endpoint::named(host, None).unwrap_err().to_string();
        assert_eq!(
            error("foo://x"),
            "Failed to initialize: unable to resolve docker endpoint: invalid bind address format: foo://x"
        );
        assert!(error("http://there").contains("http://there"));
    }
}
