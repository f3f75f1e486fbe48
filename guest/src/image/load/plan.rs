//! Which images an archive holds, and of what they are made: by `manifest.json`, as moby reads it, or else by the
//! `index.json` of an OCI layout, through lists within lists.

use std::collections::HashSet;

use holm_api::{Digest, Reference};
use serde::Deserialize;

use super::LoadError;
use super::members::Members;
use crate::image::config::{ImageConfig, LONGEST_CONFIG};
use crate::image::platform::Platform;
use crate::image::pull::manifest::{self, LONGEST_MANIFEST, Manifest, Parsed};
use crate::image::pull::{DEEPEST_LIST, PullError};

const MANIFEST: &str = "manifest.json";
const INDEX: &str = "index.json";
/// Where containerd, and so docker, writes an image's whole name; OCI's own has any text.
const FULL_NAME: &str = "io.containerd.image.name";
const SHORT_NAME: &str = "org.opencontainers.image.ref.name";

/// An image of the archive.
pub(super) struct Wanted {
    pub(super) id: Digest,
    pub(super) config: ImageConfig,
    pub(super) config_bytes: Vec<u8>,
    /// Paths of its layers, the lowest first.
    pub(super) layers: Vec<String>,
    /// Its manifest with what the manifest says, where the archive has one.
    pub(super) manifest: Option<Kept>,
    pub(super) names: Vec<Reference>,
}

/// A manifest that came with the image.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) digest: Digest,
    pub(super) bytes: Vec<u8>,
    pub(super) manifest: Manifest,
}

/// One image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What `index.json` lists.
#[derive(Deserialize)]
struct Index {
    manifests: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    digest: Digest,
    #[serde(default)]
    annotations: Option<std::collections::HashMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

/// All images that are wanted, in the order of the archive.
pub(super) fn plan(members: &Members, platform: Option<&Platform>) -> Result<Vec<Wanted>, LoadError> {
    let images = if members.find(MANIFEST)?.is_some() {
        by_manifest(members)?
    } else if members.find(INDEX)?.is_some() {
        by_index(members, platform)?
    } else {
        return Err(LoadError::NoManifest);
    };
    let any = !images.is_empty();
    let fits = |image: &Wanted| platform.is_none_or(|wanted| image.config.platform() == wanted.normal());
    let fitting: Vec<Wanted> = images.into_iter().filter(fits).collect();
    match platform {
        Some(platform) if any && fitting.is_empty() => Err(LoadError::NoPlatform(platform.normal())),
        _ => Ok(fitting),
    }
}

fn by_manifest(members: &Members) -> Result<Vec<Wanted>, LoadError> {
    let items: Option<Vec<Item>> = json(members, MANIFEST, LONGEST_MANIFEST)?;
    let kept = match members.find(INDEX)? {
        // It only tells what manifests there are; an image is whole without.
        Some(_) => manifests(members).unwrap_or_default(),
        None => Vec::new(),
    };
    let mut images = Vec::new();
    for item in items.ok_or(LoadError::NullManifest)? {
        let layers = item.layers.unwrap_or_default();
        let names = item.repo_tags.unwrap_or_default();
        let names = names.iter().map(|name| tagged(name)).collect::<Result<Vec<_>, _>>()?;
        let mut image = image(members, &item.config, layers, names)?;
        let mut digests = Vec::new();
        for path in &image.layers {
            digests.push(members.file(path)?.digest);
        }
        let fits = |kept: &&Kept| {
            kept.manifest.config.digest == image.id
                && kept.manifest.layers.iter().map(|layer| layer.digest).eq(digests.iter().copied())
        };
        image.manifest = kept.iter().find(fits).cloned();
        images.push(image);
    }
    Ok(images)
}

/// All manifests of images that the layout's index leads to.
fn manifests(members: &Members) -> Result<Vec<Kept>, LoadError> {
    let index: Index = json(members, INDEX, LONGEST_MANIFEST)?;
    let mut seen = HashSet::new();
    let mut level: Vec<Digest> = index.manifests.into_iter().map(|listed| listed.digest).collect();
    let mut found = Vec::new();
    for _ in 0..DEEPEST_LIST {
        let mut next = Vec::new();
        for digest in level {
            if !seen.insert(digest) || members.find(&blob(&digest))?.is_none() {
                continue;
            }
            match read(members, &digest)? {
                (Parsed::Image(manifest), bytes) => found.push(Kept { digest, bytes, manifest }),
                (Parsed::List(list), _) => next.extend(list.iter().map(|entry| entry.digest)),
            }
        }
        level = next;
    }
    Ok(found)
}

fn by_index(members: &Members, platform: Option<&Platform>) -> Result<Vec<Wanted>, LoadError> {
    let index: Index = json(members, INDEX, LONGEST_MANIFEST)?;
    let mut images: Vec<Wanted> = Vec::new();
    for listed in index.manifests {
        // What a builder says about an image is beside it, for no machine at all.
        if listed.platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
            continue;
        }
        let Some(kept) = choose(members, listed.digest, platform)? else { continue };
        let name = named(listed.annotations.unwrap_or_default())?;
        let id = kept.manifest.config.digest;
        if let Some(same) = images.iter_mut().find(|image| image.id == id) {
            same.names.extend(name);
            continue;
        }
        let config = check(members, &id)?;
        let mut layers = Vec::new();
        for layer in &kept.manifest.layers {
            layers.push(check(members, &layer.digest)?);
        }
        let mut image = image(members, &config, layers, name.into_iter().collect())?;
        image.manifest = Some(kept);
        images.push(image);
    }
    Ok(images)
}

/// The image that a manifest or list means: of a list, the one for `platform`, or else the best there is for this
/// machine. An archive may lack what its lists name; `None` where it has nothing of a list.
fn choose(members: &Members, digest: Digest, platform: Option<&Platform>) -> Result<Option<Kept>, LoadError> {
    let mut digest = digest;
    for _ in 0..DEEPEST_LIST {
        check(members, &digest)?;
        let list = match read(members, &digest)? {
            (Parsed::Image(manifest), bytes) => return Ok(Some(Kept { digest, bytes, manifest })),
            (Parsed::List(list), _) => list,
        };
        let mut there = Vec::new();
        for entry in list {
            if members.find(&blob(&entry.digest))?.is_some() {
                there.push(entry);
            }
        }
        let wanted = platform.cloned().unwrap_or_else(Platform::host);
        let chosen = match (manifest::choose(&there, &wanted), platform) {
            (Ok(chosen), _) => Some(chosen.digest),
            // Somebody saved an image of another machine: that one is meant.
            (Err(_), None) => there.iter().find(|entry| !entry.is_unknown()).map(|entry| entry.digest),
            (Err(_), Some(_)) => None,
        };
        let Some(chosen) = chosen else { return Ok(None) };
        digest = chosen;
    }
    Err(LoadError::Manifest { path: blob(&digest), cause: PullError::NestedTooDeep(DEEPEST_LIST) })
}

fn image(
    members: &Members,
    config_path: &str,
    layers: Vec<String>,
    names: Vec<Reference>,
) -> Result<Wanted, LoadError> {
    let config_bytes = members.read(config_path, LONGEST_CONFIG)?;
    let config = ImageConfig::parse(&config_bytes)
        .map_err(|cause| LoadError::Json { path: config_path.to_owned(), cause })?;
    if !matches!(config.os.as_str(), "linux" | "") {
        return Err(LoadError::OperatingSystem(config.os));
    }
    if config.rootfs.kind != "layers" {
        return Err(LoadError::RootFs(config_path.to_owned()));
    }
    let (expected, got) = (layers.len(), config.rootfs.diff_ids.len());
    if expected != got {
        return Err(LoadError::LayersMismatch { expected, got });
    }
    if got > manifest::MOST_LAYERS {
        let cause = PullError::TooManyLayers { got, limit: manifest::MOST_LAYERS };
        return Err(LoadError::Manifest { path: config_path.to_owned(), cause });
    }
    let id = members.file(config_path)?.digest;
    Ok(Wanted { id, config, config_bytes, layers, manifest: None, names })
}

/// Where an OCI layout has a blob.
fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// That a blob is there and is what its name says.
fn check(members: &Members, digest: &Digest) -> Result<String, LoadError> {
    let path = blob(digest);
    match members.file(&path)?.digest {
        got if got == *digest => Ok(path),
        got => Err(LoadError::WrongDigest { path, got }),
    }
}

fn read(members: &Members, digest: &Digest) -> Result<(Parsed, Vec<u8>), LoadError> {
    let path = blob(digest);
    let bytes = members.read(&path, LONGEST_MANIFEST)?;
    match manifest::parse(&bytes, Some(manifest::kind_of(&bytes)), &path) {
        Ok(parsed) => Ok((parsed, bytes)),
        Err(cause) => Err(LoadError::Manifest { path, cause }),
    }
}

fn json<T: serde::de::DeserializeOwned>(members: &Members, path: &str, limit: usize) -> Result<T, LoadError> {
    let bytes = members.read(path, limit)?;
    serde_json::from_slice(&bytes).map_err(|cause| LoadError::Json { path: path.to_owned(), cause })
}

/// A name as `manifest.json` has them.
fn tagged(text: &str) -> Result<Reference, LoadError> {
    let reference: Reference = text.parse()?;
    match (reference.tag(), reference.digest()) {
        (Some(_), None) => Ok(reference),
        _ => Err(LoadError::InvalidTag(text.to_owned())),
    }
}

/// The name that an index gives an image. OCI's annotation often is a tag alone, and names nothing then.
fn named(annotations: std::collections::HashMap<String, String>) -> Result<Option<Reference>, LoadError> {
    if let Some(name) = annotations.get(FULL_NAME) {
        return tagged(name).map(Some);
    }
    let text = annotations.get(SHORT_NAME).filter(|text| text.contains([':', '/']));
    Ok(text.and_then(|text| text.parse::<Reference>().ok()).filter(|name| name.digest().is_none()))
        .map(|name| name.map(Reference::or_latest))
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::image::blobs::Blobs;
    use crate::image::load::members::{Member, Staged};
    use crate::image::stream::Packing;

    #[test]
    fn no_manifest_breaks_the_reader() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("tmp")).unwrap();
        let blobs = Blobs::open(root.path()).unwrap();
        bolero::check!().for_each(|bytes: &[u8]| {
            let (first, second) = bytes.split_at(bytes.len() / 2);
            let mut members = Members::default();
            for (path, content) in [(MANIFEST, first), (INDEX, first), ("config.json", second)] {
                let half = blobs.begin().unwrap();
                std::fs::write(half.path(), content).unwrap();
                let (size, digest) = (content.len() as u64, Digest::from_bytes([1; 32]));
                let file = Staged { half: Some(half), digest, size, packing: Packing::Plain, layer: None };
                members.add(path.to_owned(), Member::File(file)).unwrap();
            }
            let _ = plan(&members, None);
            let _ = by_index(&members, None);
        });
    }
}
