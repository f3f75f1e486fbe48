//! Which network a container runs on, as `HostConfig.NetworkMode` says it.

use holm_api::models::HostConfig;

use crate::engine::EngineError;

/// The networks that every Docker daemon has, in the order in which they are listed.
pub(crate) const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

/// Which network a container runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkMode {
    /// `docker0`'s.
    Bridge,
    /// The machine's.
    Host,
    /// Its own namespace with nothing but `lo`.
    None,
    /// One that somebody made, by name or id.
    Named(String),
}

impl NetworkMode {
    /// What a client's wish means; `None` is another container's network.
    pub(crate) fn of(host: &HostConfig) -> Result<Option<Self>, EngineError> {
        match host.network_mode.as_deref().unwrap_or_default() {
            "" | "default" | "bridge" => Ok(Some(Self::Bridge)),
            "host" => Ok(Some(Self::Host)),
            "none" => Ok(Some(Self::None)),
            "container" | "container:" => Err(EngineError::Invalid(
                "invalid network mode: invalid container format container:<name|id>".to_owned(),
            )),
            other if other.starts_with("container:") => Ok(None),
            other => Ok(Some(Self::Named(other.to_owned()))),
        }
    }

    /// The network's name, or what stands for it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::None => "none",
            Self::Named(name) => name,
        }
    }
}

/// Whether a network of this name is one that somebody made.
pub(crate) fn is_user_defined(name: &str) -> bool {
    !PREDEFINED.contains(&name) && name != "default"
}
