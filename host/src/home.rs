//! Where Holm keeps things on this computer: `$HOLM_HOME`, else `~/.holm`. Only its owner may look inside.
//!
//! | path | what |
//! |---|---|
//! | `settings.toml` | what the user wrote |
//! | `run/docker.sock` | the Engine API |
//! | `run/daemon.sock` | `holm machine …`; see `daemon::control` |
//! | `run/daemon.lock` | held as long as a daemon lives |
//! | `run/daemon.log` | what a daemon in the background printed |
//! | `certs.d/<host[:port]>/` | certificates for one registry; see `daemon::certificates` |
//! | `tls/` | certificates of the Engine API over TCP; what clients need is `DOCKER_CERT_PATH` |
//! | `run/machine/` | the running machine's sockets, process id and console |
//! | `machine/data.img` | the data disk: images, containers, volumes |

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The folder everything is in.
#[derive(Clone, Debug)]
pub(crate) struct Home(PathBuf);

impl Home {
    /// `holm_home` is the variable `HOLM_HOME`, `user_home` the user's home folder. `None` where neither helps.
    pub(crate) fn locate(holm_home: Option<OsString>, user_home: Option<PathBuf>) -> Option<Self> {
        match holm_home {
            Some(path) if !path.is_empty() => std::path::absolute(path).ok().map(Self),
            _ => user_home.map(|home| Self(home.join(".holm"))),
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.0
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.0.join("settings.toml")
    }

    pub(crate) fn engine_socket(&self) -> PathBuf {
        self.0.join("run/docker.sock")
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.0.join("tls")
    }

    pub(crate) fn registry_certificates(&self) -> PathBuf {
        self.0.join("certs.d")
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.0.join("run/daemon.sock")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("run/daemon.lock")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("run/daemon.log")
    }

    pub(crate) fn machine_run(&self) -> PathBuf {
        self.0.join("run/machine")
    }

    pub(crate) fn console(&self) -> PathBuf {
        self.machine_run().join("console.log")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.0.join("machine/data.img")
    }

    /// Makes the folders that are not there yet, for their owner alone.
    pub(crate) fn create(&self) -> io::Result<()> {
        for folder in [self.0.clone(), self.0.join("run"), self.machine_run(), self.0.join("machine")] {
            crate::os::create_private_folder(&folder)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_home_folder() {
        let home = |variable: Option<&str>| {
            Home::locate(variable.map(Into::into), Some("/home/me".into())).unwrap().0
        };
        assert_eq!(home(Some("/srv/holm")), PathBuf::from("/srv/holm"));
        assert_eq!(home(Some("")), PathBuf::from("/home/me/.holm"));
        assert_eq!(home(None), PathBuf::from("/home/me/.holm"));
        assert!(Home::locate(None, None).is_none());
    }
}
