//! Where the daemon listens: what `-H`, `HOLM_HOST` and `DOCKER_HOST` may say, and what is meant by nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::CliError;

/// A daemon's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The Unix socket, or the named pipe as a path.
    pub(crate) path: PathBuf,
    /// As it is shown: `unix:///run/docker.sock`.
    pub(crate) host: String,
    /// Whether the user named it. Only a daemon that was not named is started on demand.
    pub(crate) explicit: bool,
}

impl Endpoint {
    /// The flag wins over `HOLM_HOST`, that over `DOCKER_HOST`, and that over our own daemon's socket.
    pub(crate) fn choose(
        flag: Option<&str>,
        variables: &BTreeMap<String, String>,
        home: &Path,
    ) -> Result<Self, CliError> {
        let variable = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
        match flag.or_else(|| variable("HOLM_HOST")).or_else(|| variable("DOCKER_HOST")) {
            Some(host) => Self::parse(host),
            None => Ok(Self::own(home)),
        }
    }

    fn own(home: &Path) -> Self {
        let path = home.join("run").join("docker.sock");
        Self { host: format!("{SCHEME}{}", path.display()), path, explicit: false }
    }

    fn parse(host: &str) -> Result<Self, CliError> {
        let path = match host.strip_prefix(SCHEME) {
            Some(path) if !path.is_empty() => PathBuf::from(path),
            _ if host.contains("://") => {
                return Err(CliError::said(format!(
                    "unable to connect to {host}: only {SCHEME} addresses are supported here"
                )));
            }
            _ => return Err(CliError::said(format!("unable to parse docker host `{host}`"))),
        };
        Ok(Self { path, host: host.to_owned(), explicit: true })
    }
}

/// What addresses start with on this system.
#[cfg(unix)]
const SCHEME: &str = "unix://";
/// What addresses start with on this system.
#[cfg(windows)]
const SCHEME: &str = "npipe://";

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn choose(flag: Option<&str>, variables: &[(&str, &str)]) -> Result<Endpoint, CliError> {
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Endpoint::choose(flag, &variables, Path::new("/home/me/.holm"))
    }

    #[test]
    fn the_flag_wins_over_the_variables_and_those_over_our_own_socket() {
        let both = [("DOCKER_HOST", "unix:///d"), ("HOLM_HOST", "unix:///h")];
        assert_eq!(choose(Some("unix:///f"), &both).unwrap().host, "unix:///f");
        assert_eq!(choose(None, &both).unwrap().host, "unix:///h");
        assert_eq!(choose(None, &both[..1]).unwrap().path, Path::new("/d"));
        let own = choose(None, &[("DOCKER_HOST", "")]).unwrap();
        assert_eq!(own.host, "unix:///home/me/.holm/run/docker.sock");
        assert!(!own.explicit);
    }

    #[test]
    fn an_address_that_cannot_be_served_is_named_in_the_error() {
        let error = choose(Some("tcp://10.0.0.1:2375"), &[]).unwrap_err().to_string();
        assert!(error.contains("tcp://10.0.0.1:2375"), "{error}");
        let error = choose(Some("10.0.0.1"), &[]).unwrap_err().to_string();
        assert_eq!(error, "unable to parse docker host `10.0.0.1`");
    }
}
