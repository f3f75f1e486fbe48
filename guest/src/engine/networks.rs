//! The three networks that every Docker daemon has: `bridge`, `host` and `none`. Their ids are made once and
//! kept, because clients remember them.

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use holm_api::{NetworkId, models};
use serde::{Deserialize, Serialize};

use super::EngineError;
use super::names::random_bytes;

const FILE: &str = "predefined.json";

/// Which network a container runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// Its own namespace, joined to `docker0`.
    Bridge,
    /// The machine's.
    Host,
    /// Its own namespace with nothing but `lo`.
    None,
}

impl NetworkMode {
    /// What a client's wish means; `None` is another container's network. Networks of one's own are not there yet.
    pub(crate) fn of(host: &models::HostConfig) -> Result<Option<Self>, EngineError> {
        match host.network_mode.as_deref().unwrap_or_default() {
            "" | "default" | "bridge" => Ok(Some(Self::Bridge)),
            "host" => Ok(Some(Self::Host)),
            "none" => Ok(Some(Self::None)),
            "container" | "container:" => Err(EngineError::Invalid(
                "invalid network mode: invalid container format container:<name|id>".to_owned(),
            )),
            other if other.starts_with("container:") => Ok(None),
            other => Err(EngineError::NoSuchNetwork(other.to_owned())),
        }
    }

    /// The network's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
        }
    }

    /// Its driver's name.
    pub(crate) fn driver(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "null",
        }
    }
}

/// All of them, in the order in which they are listed.
pub(crate) const PREDEFINED: [NetworkMode; 3] = [NetworkMode::Bridge, NetworkMode::Host, NetworkMode::None];

/// Their ids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Networks {
    bridge: NetworkId,
    host: NetworkId,
    none: NetworkId,
    created: DateTime<Utc>,
}

impl Networks {
    /// Reads them, or makes them when there are none yet.
    pub(super) fn open(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| EngineError::system(format!("read {}", path.display()))(error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let networks = Self::new()?;
                networks.write(folder).map_err(EngineError::system(format!("write {}", path.display())))?;
                Ok(networks)
            }
            Err(error) => Err(EngineError::system(format!("read {}", path.display()))(error)),
        }
    }

    fn new() -> Result<Self, EngineError> {
        let id = || random_bytes().map(NetworkId::from_bytes);
        Ok(Self { bridge: id()?, host: id()?, none: id()?, created: Utc::now() })
    }

    fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let temporary = folder.join(format!("{FILE}.new"));
        let mut file = fs::File::create(&temporary)?;
        serde_json::to_writer(&mut file, self)?;
        file.sync_all()?;
        fs::rename(temporary, folder.join(FILE))?;
        fs::File::open(folder)?.sync_all()
    }

    /// One's id.
    pub(crate) fn id(&self, network: NetworkMode) -> &NetworkId {
        match network {
            NetworkMode::Bridge => &self.bridge,
            NetworkMode::Host => &self.host,
            NetworkMode::None => &self.none,
        }
    }

    /// When they were made.
    pub(crate) fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// By name, id or start of an id.
    pub(crate) fn find(&self, text: &str) -> Result<NetworkMode, EngineError> {
        let by_name = PREDEFINED.into_iter().find(|network| network.name() == text);
        let by_id = || PREDEFINED.into_iter().find(|network| self.id(*network).as_str().starts_with(text));
        by_name
            .or_else(|| if text.is_empty() { None } else { by_id() })
            .ok_or_else(|| EngineError::NoSuchNetwork(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_same_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let first = Networks::open(folder.path()).unwrap();
        let second = Networks::open(folder.path()).unwrap();
        for network in PREDEFINED {
            assert_eq!(first.id(network), second.id(network));
            assert_eq!(second.find(network.name()).unwrap(), network);
            assert_eq!(second.find(first.id(network).short()).unwrap(), network);
        }
        assert_eq!(first.find("mine").unwrap_err().to_string(), "network mine not found");
        assert!(first.find("").is_err());
    }
}
