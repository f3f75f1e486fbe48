//! The image configuration: the JSON whose digest is the image's id (OCI image-spec, "Image Configuration",
//! with the fields that Docker adds).

use holm_api::{Digest, models};
use serde::Deserialize;

use super::platform::Platform;

/// Bytes of the largest configuration that is taken.
pub(crate) const LONGEST_CONFIG: usize = 8 << 20;

/// What an image says of itself.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ImageConfig {
    /// When it was made (RFC 3339), as its maker wrote it.
    pub(crate) created: Option<String>,
    /// Who made it.
    pub(crate) author: Option<String>,
    /// Free text of `docker commit -m`.
    pub(crate) comment: Option<String>,
    /// `amd64`, `arm64`. Empty in images that were made by hand.
    #[serde(default)]
    pub(crate) architecture: String,
    /// `v8` and the like.
    pub(crate) variant: Option<String>,
    /// `linux`. Empty in images that were made by hand.
    #[serde(default)]
    pub(crate) os: String,
    /// Version of the Docker that made it.
    pub(crate) docker_version: Option<String>,
    /// What a container gets where its creator says nothing.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) config: models::ImageConfig,
    /// The layers.
    pub(crate) rootfs: RootFs,
    /// How it was made, the oldest step first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) history: Vec<HistoryStep>,
}

/// An image's layers, as it names them.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Digests of the uncompressed tars, the lowest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) diff_ids: Vec<Digest>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct HistoryStep {
    /// When (RFC 3339).
    pub(crate) created: Option<String>,
    /// What was run.
    pub(crate) created_by: Option<String>,
    /// Free text.
    pub(crate) comment: Option<String>,
    /// Whether the step made no layer.
    #[serde(default)]
    pub(crate) empty_layer: bool,
}

impl ImageConfig {
    /// Reads a configuration's bytes.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Which machine it is for. Where it does not say, it is for this one.
    pub(crate) fn platform(&self) -> Platform {
        if self.architecture.is_empty() {
            return Platform::host();
        }
        let (os, architecture) = (self.os.clone(), self.architecture.clone());
        Platform { os, architecture, variant: self.variant.clone() }.normal()
    }
}

/// Go writes an empty list as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_written_by_go_is_read() {
        let config = ImageConfig::parse(
            br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":["/hello"],
                "ExposedPorts":{"80/tcp":{}},"Volumes":null,"Labels":null,"OnBuild":null},
                "rootfs":{"type":"layers","diff_ids":null},"history":null}"#,
        )
        .unwrap();
        assert_eq!(config.config.cmd.as_deref(), Some(&["/hello".to_owned()][..]));
        assert_eq!(config.config.exposed_ports.as_deref(), Some(&["80/tcp".to_owned()][..]));
        assert!(config.rootfs.diff_ids.is_empty() && config.history.is_empty());
    }

    #[test]
    fn a_configuration_without_layers_section_is_refused() {
        ImageConfig::parse(br#"{"architecture":"amd64","os":"linux"}"#).unwrap_err();
    }
}
