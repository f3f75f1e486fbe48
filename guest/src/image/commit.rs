//! An image made of another one and a layer on top: what `commit` keeps. The layer is compressed once, as it comes,
//! and unpacked from what was kept; the record is written last, so that a crash leaves an image or none.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};

use chrono::{DateTime, SecondsFormat, Utc};
use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use holm_api::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::blobs::HalfBlob;
use super::config::{ImageConfig, LONGEST_CONFIG};
use super::record::{Image, Layer, Record};
use super::{Hold, Images, blocking};

const OCI: &str = "application/vnd.oci.image.";
pub(super) const OCI_TYPES: [&str; 3] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.oci.image.layer.v1.tar+gzip",
];
const DOCKER_TYPES: [&str; 3] = [
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];
/// The tar with nothing in it: such a layer is left out.
const EMPTY_TAR: &str = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";

/// What the new image says of itself beside its layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct CommitWish {
    /// Who made it.
    pub(crate) author: String,
    /// Free text.
    pub(crate) comment: String,
    /// What a container of it gets.
    pub(crate) config: Value,
    /// What the container was.
    pub(crate) container_config: Value,
    /// Which one.
    pub(crate) container: String,
    /// What it ran.
    pub(crate) created_by: String,
}

/// Takes a layer's tar, and compresses and measures it on the way to the disk. Blocks.
pub(crate) struct LayerWriter {
    half: HalfBlob,
    encoder: GzEncoder<Hashing<File>>,
    diff_id: Sha256,
}

/// A layer that is written and belongs to no image yet.
pub(crate) struct NewLayer {
    pub(super) half: HalfBlob,
    pub(super) blob: Digest,
    pub(super) blob_size: u64,
    pub(super) diff_id: Digest,
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl LayerWriter {
    /// Takes some of the tar.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.diff_id.update(bytes);
        self.encoder.write_all(bytes)
    }

    /// The tar has come to its end.
    pub(crate) fn finish(self) -> io::Result<NewLayer> {
        let written = self.encoder.finish()?;
        Ok(NewLayer {
            half: self.half,
            blob: Digest::from_bytes(written.hash.finalize().into()),
            blob_size: written.length,
            diff_id: Digest::from_bytes(self.diff_id.finalize().into()),
        })
    }
}

impl Images {
    /// Begins a layer. Blocks.
    pub(crate) fn write_layer(&self) -> io::Result<LayerWriter> {
        let half = self.shared.blobs.begin()?;
        let file = OpenOptions::new().write(true).open(half.path())?;
        let out = Hashing { out: file, hash: Sha256::new(), length: 0 };
        Ok(LayerWriter { half, encoder: GzEncoder::new(out, Compression::fast()), diff_id: Sha256::new() })
    }

    /// Keeps `parent` with `layer` on top as an image of its own, and returns its id.
    pub(crate) async fn commit(
        &self,
        parent: Image,
        layer: NewLayer,
        wish: CommitWish,
    ) -> io::Result<Digest> {
        let images = self.clone();
        blocking(move || images.commit_blocking(&parent, layer, &wish)).await
    }

    fn commit_blocking(&self, parent: &Image, layer: NewLayer, wish: &CommitWish) -> io::Result<Digest> {
        let shared = &self.shared;
        let gone = || io::Error::new(io::ErrorKind::NotFound, "the container's image was removed");
        let _parent: Hold = self.hold(parent).ok_or_else(gone)?;
        let empty = layer.diff_id.to_string() == EMPTY_TAR;
        let types = match parent.layers().first() {
            Some(layer) if layer.media_type.starts_with(OCI) => OCI_TYPES,
            _ => DOCKER_TYPES,
        };
        let mut layers = parent.layers().to_vec();
        let mut _layer: Option<Hold> = None;
        let diff_id = layer.diff_id;
        if !empty {
            let (hold, layer) = self.keep_layer(layer, types[2])?;
            layers.push(layer);
            _layer = Some(hold);
        }
        let config_of_parent = shared.blobs.read(&parent.id(), LONGEST_CONFIG)?;
        let now = Utc::now();
        let config = configuration(&config_of_parent, wish, (!empty).then_some(diff_id), now)?;
        let config_bytes = serde_json::to_vec(&config)?;
        let parsed = ImageConfig::parse(&config_bytes)?;
        let digest = |bytes: &[u8]| Digest::from_bytes(Sha256::digest(bytes).into());
        let id = digest(&config_bytes);
        let manifest = manifest(types, (&id, config_bytes.len()), &layers);
        let manifest_bytes = serde_json::to_vec(&manifest)?;
        let manifest_digest = digest(&manifest_bytes);
        let _image = shared.hold(vec![id, manifest_digest]);
        shared.blobs.write(&id, &config_bytes)?;
        shared.blobs.write(&manifest_digest, &manifest_bytes)?;
        shared.sync()?;
        shared.layers.sync()?;
        let record = Record { id, manifest: manifest_digest, layers, tagged: now };
        shared.keep_record(&shared.change(), record, &parsed)?;
        Ok(id)
    }

    /// Makes a written layer a blob, and unpacks it from there.
    pub(super) fn keep_layer(&self, layer: NewLayer, media_type: &str) -> io::Result<(Hold, Layer)> {
        let NewLayer { half, blob, blob_size, diff_id } = layer;
        let hold = self.shared.hold(vec![blob, diff_id]);
        self.shared.blobs.keep(half, &blob)?;
        let mut tar = MultiGzDecoder::new(BufReader::new(File::open(self.shared.blobs.path(&blob))?));
        let size = self.shared.layers.unpack(&diff_id, &mut tar)?;
        Ok((hold, Layer { blob, blob_size, media_type: media_type.to_owned(), diff_id, size }))
    }
}

/// The parent's configuration, one step further.
fn configuration(
    parent: &[u8],
    wish: &CommitWish,
    layer: Option<Digest>,
    now: DateTime<Utc>,
) -> io::Result<Value> {
    let mut config: Value = serde_json::from_slice(parent)?;
    let created = now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let mut step = json!({ "created": created, "created_by": wish.created_by });
    for (key, text) in [("author", &wish.author), ("comment", &wish.comment)] {
        if text.is_empty() {
            config.as_object_mut().map(|config| config.shift_remove(key));
        } else {
            config[key] = json!(text);
            step[key] = json!(text);
        }
    }
    if layer.is_none() {
        step["empty_layer"] = json!(true);
    }
    config["created"] = json!(created);
    config["config"] = wish.config.clone();
    config["container"] = json!(wish.container);
    config["container_config"] = wish.container_config.clone();
    config["docker_version"] = json!(holm_api::VERSION);
    push(&mut config, "/rootfs/diff_ids", layer.map(|layer| json!(layer.to_string())));
    if !config["history"].is_array() {
        config["history"] = json!([]);
    }
    push(&mut config, "/history", Some(step));
    Ok(config)
}

fn push(config: &mut Value, at: &str, item: Option<Value>) {
    if let Some(list) = config.pointer_mut(at) {
        if !list.is_array() {
            *list = json!([]);
        }
        if let (Some(list), Some(item)) = (list.as_array_mut(), item) {
            list.push(item);
        }
    }
}

pub(super) fn manifest(types: [&str; 3], (config, size): (&Digest, usize), layers: &[Layer]) -> Value {
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| json!({ "mediaType": layer.media_type, "size": layer.blob_size, "digest": layer.blob.to_string() }))
        .collect();
    json!({
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": { "mediaType": types[1], "size": size, "digest": config.to_string() },
        "layers": layers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &[u8] = br#"{"architecture":"amd64","os":"linux","author":"them","config":{"Cmd":["a"]},
        "rootfs":{"type":"layers","diff_ids":["sha256:0101010101010101010101010101010101010101010101010101010101010101"]},
        "history":[{"created_by":"first"}],"variant":"v8"}"#;

    #[test]
    fn a_new_image_is_its_parent_one_step_further() {
        let wish = CommitWish {
            comment: "done".to_owned(),
            config: json!({ "Cmd": ["b"] }),
            created_by: "sh".to_owned(),
            ..CommitWish::default()
        };
        let layer = Digest::from_bytes([2; 32]);
        let config = configuration(PARENT, &wish, Some(layer), DateTime::UNIX_EPOCH).unwrap();
        let parsed = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.rootfs.diff_ids, [Digest::from_bytes([1; 32]), layer]);
        assert_eq!((parsed.comment.as_deref(), parsed.author), (Some("done"), None));
        assert_eq!(parsed.variant.as_deref(), Some("v8"));
        assert_eq!(parsed.config.cmd.unwrap(), ["b"]);
        assert_eq!(parsed.history.len(), 2);
        assert_eq!(
            (parsed.history[1].created_by.as_deref(), parsed.history[1].empty_layer),
            (Some("sh"), false)
        );
    }

    #[test]
    fn a_container_that_changed_nothing_adds_a_step_without_a_layer() {
        let config = configuration(PARENT, &CommitWish::default(), None, DateTime::UNIX_EPOCH).unwrap();
        let parsed = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.rootfs.diff_ids.len(), 1);
        assert!(parsed.history[1].empty_layer);
        let empty = Digest::from_bytes(Sha256::digest([0; 1024]).into());
        assert_eq!(empty.to_string(), EMPTY_TAR);
    }
}
