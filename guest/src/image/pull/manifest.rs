//! What a manifest says (OCI image-spec; Docker image manifest version 2, schema 2, and its lists).

use std::fmt;
use std::sync::Arc;

use holm_api::Digest;
use serde::Deserialize;

use super::PullError;
use crate::image::platform::Platform;

/// Bytes of the largest manifest that is taken.
pub(in crate::image) const LONGEST_MANIFEST: usize = 4 << 20;
/// More layers than overlayfs stacks (500 since Linux 5.15).
pub(in crate::image) const MOST_LAYERS: usize = 500;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1";
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A blob, as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::image) struct Descriptor {
    #[serde(default)]
    pub(in crate::image) media_type: String,
    pub(in crate::image) digest: Digest,
    pub(in crate::image) size: u64,
    /// In lists: which machine it is for.
    #[serde(default)]
    platform: Option<Platform>,
}

impl Descriptor {
    /// Whether it is for no machine at all: what a builder says about an image beside it.
    pub(in crate::image) fn is_unknown(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}

/// One image's parts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(in crate::image) struct Manifest {
    pub(in crate::image) config: Descriptor,
    pub(in crate::image) layers: Vec<Descriptor>,
}

/// What a tag can name.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::image) enum Parsed {
    /// One image.
    Image(Manifest),
    /// Images, each for another kind of machine.
    List(Vec<Descriptor>),
}

/// Reads a manifest. What it is, it says itself; only where it does not, its registry is believed.
pub(in crate::image) fn parse(
    bytes: &[u8],
    media_type: Option<&str>,
    name: &dyn fmt::Display,
) -> Result<Parsed, PullError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default)]
        schema_version: u32,
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<Vec<Descriptor>>,
        #[serde(default)]
        config: Option<serde::de::IgnoredAny>,
    }
    let invalid = |error| PullError::InvalidManifest(Arc::new(error));
    let head: Head = serde_json::from_slice(bytes).map_err(invalid)?;
    let kind = head.media_type.as_deref().or(media_type).unwrap_or_default();
    if head.schema_version == 1 || kind.starts_with(SCHEMA_1) {
        return Err(PullError::Schema1(name.to_string()));
    }
    match (kind, head.manifests) {
        // Something that is both would be read one way by one program and another way by the next.
        (_, Some(_)) if head.config.is_some() => {
            Err(PullError::UnsupportedMediaType(format!("{kind}: both a list and an image")))
        }
        (OCI_INDEX | DOCKER_LIST, Some(manifests)) => Ok(Parsed::List(manifests)),
        (OCI_MANIFEST | DOCKER_MANIFEST, None) => {
            let manifest: Manifest = serde_json::from_slice(bytes).map_err(invalid)?;
            check(&manifest)?;
            Ok(Parsed::Image(manifest))
        }
        _ => Err(PullError::UnsupportedMediaType(kind.to_owned())),
    }
}

/// The type of a manifest that neither says it nor came with one: OCI leaves it to what refers to it.
pub(in crate::image) fn kind_of(bytes: &[u8]) -> &'static str {
    #[derive(Deserialize)]
    struct Head {
        manifests: Option<serde::de::IgnoredAny>,
    }
    let head = serde_json::from_slice::<Head>(bytes).ok();
    if head.is_some_and(|head| head.manifests.is_some()) { OCI_INDEX } else { OCI_MANIFEST }
}

fn check(manifest: &Manifest) -> Result<(), PullError> {
    let config = &manifest.config.media_type;
    if !CONFIGS.contains(&config.as_str()) {
        return Err(PullError::UnsupportedMediaType(config.clone()));
    }
    if manifest.layers.len() > MOST_LAYERS {
        return Err(PullError::TooManyLayers { got: manifest.layers.len(), limit: MOST_LAYERS });
    }
    // The first bytes tell how a layer is compressed; its type only has to be one of a layer.
    let is_layer = |kind: &str| {
        kind.starts_with("application/vnd.oci.image.layer.")
            || kind.starts_with("application/vnd.docker.image.rootfs.")
    };
    match manifest.layers.iter().find(|layer| !is_layer(&layer.media_type)) {
        Some(other) => Err(PullError::UnsupportedMediaType(other.media_type.clone())),
        None => Ok(()),
    }
}

/// The entry of a list that fits `wanted` best; of equals, the first.
pub(in crate::image) fn choose<'a>(
    list: &'a [Descriptor],
    wanted: &Platform,
) -> Result<&'a Descriptor, PullError> {
    let fitting = list.iter().filter_map(|entry| {
        let fit = match &entry.platform {
            // Made without saying for what: better than nothing.
            None => 255,
            Some(offered) => wanted.fit(offered)?,
        };
        Some((fit, entry))
    });
    let best = fitting.min_by_key(|(fit, _)| *fit);
    best.map(|(_, entry)| entry).ok_or_else(|| PullError::NoMatchingPlatform(wanted.normal()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u8) -> String {
        Digest::from_bytes([n; 32]).to_string()
    }

    fn read(text: &str, media_type: Option<&str>) -> Result<Parsed, PullError> {
        parse(text.as_bytes(), media_type, &"docker.io/library/alpine:3")
    }

    fn image(config_type: &str, layer_type: &str) -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{config_type}","digest":"{}","size":2}},
               "layers":[{{"mediaType":"{layer_type}","digest":"{}","size":3}}]}}"#,
            digest(1),
            digest(2)
        )
    }

    #[test]
    fn an_image_is_read_by_its_own_type_or_its_registrys() {
        let text = image(CONFIGS[0], "application/vnd.oci.image.layer.v1.tar+zstd");
        let Parsed::Image(manifest) = read(&text, Some(OCI_MANIFEST)).unwrap() else { panic!() };
        assert_eq!((manifest.layers[0].size, manifest.config.size), (3, 2));
        assert!(matches!(read(&text, None), Err(PullError::UnsupportedMediaType(_))));
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for (config, layer) in [
            ("application/vnd.cncf.helm.config.v1+json", "application/vnd.oci.image.layer.v1.tar"),
            (CONFIGS[0], "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
        ] {
            let told = read(&image(config, layer), Some(OCI_MANIFEST)).unwrap_err();
            assert!(matches!(told, PullError::UnsupportedMediaType(_)), "{told}");
        }
        for text in ["", "<html>", "[]", r#"{"config":7}"#] {
            let told = read(text, Some(OCI_MANIFEST)).unwrap_err();
            assert_eq!(told.to_string(), "unsupported manifest format", "{text}");
        }
        let both = r#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#;
        assert!(read(both, Some(OCI_INDEX)).is_err());
    }

    #[test]
    fn schema_1_is_refused_in_dockers_words() {
        let told = read(r#"{"schemaVersion":1,"name":"a"}"#, None).unwrap_err().to_string();
        assert!(
            told.starts_with("Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. Suggest the author of docker.io/library/alpine:3"),
            "{told}"
        );
    }

    #[test]
    fn the_entry_for_this_machine_is_chosen_and_attestations_never() {
        let entry = |n, os: &str, architecture: &str, variant: &str| {
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":1,
                    "platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#,
                digest(n)
            )
        };
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{},{},{},{}]}}"#,
            entry(1, "unknown", "unknown", ""),
            entry(2, "linux", "arm", "v6"),
            entry(3, "linux", "arm", "v7"),
            entry(4, "linux", "amd64", ""),
        );
        let Parsed::List(list) = read(&text, None).unwrap() else { panic!() };
        let chosen = |platform: &str| choose(&list, &platform.parse().unwrap()).map(|entry| entry.digest);
        assert_eq!(chosen("linux/arm/v7").unwrap(), Digest::from_bytes([3; 32]));
        assert_eq!(chosen("linux/amd64").unwrap(), Digest::from_bytes([4; 32]));
        let told = chosen("linux/s390x").unwrap_err().to_string();
        assert_eq!(told, "no matching manifest for linux/s390x in the manifest list entries");
    }
}

#[cfg(test)]
mod fuzz {
    #[test]
    fn no_bytes_break_the_reader() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let _ = super::parse(bytes, Some(super::OCI_MANIFEST), &"a");
        });
    }
}
