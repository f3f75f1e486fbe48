//! An image made of a file system in a tar: what `docker import` keeps. One layer, compressed once as it comes and
//! unpacked from what was kept; the record is written last, so that a crash leaves an image or none.

use std::io::Read;

use chrono::{SecondsFormat, Utc};
use holm_api::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::commit::{OCI_TYPES, manifest};
use super::config::ImageConfig;
use super::load::uncompressed;
use super::platform::Platform;
use super::record::Record;
use super::{Images, LoadError, NewLayer, Pieces, blocking};

/// Bytes of the tar at once.
const PIECE: usize = 256 << 10;

/// What the new image says of itself.
#[derive(Clone, Debug)]
pub(crate) struct ImportWish {
    /// What a container of it gets.
    pub(crate) config: Value,
    /// Free text.
    pub(crate) comment: String,
    /// For which machine.
    pub(crate) platform: Platform,
}

impl Images {
    /// Keeps a file system as an image and returns its id. [`Images::sweep`] removes what a failure leaves.
    pub(crate) async fn import(&self, tar: Pieces, wish: ImportWish) -> Result<Digest, LoadError> {
        let images = self.clone();
        blocking(move || images.import_blocking(tar, &wish)).await
    }

    fn import_blocking(&self, tar: Pieces, wish: &ImportWish) -> Result<Digest, LoadError> {
        let shared = &self.shared;
        let layer = self.written(tar)?;
        let (_hold, layer) = self.keep_layer(layer, OCI_TYPES[2]).map_err(LoadError::import)?;
        let now = Utc::now();
        let created = now.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let mut config = json!({
            "created": created,
            "docker_version": holm_api::VERSION,
            "config": wish.config,
            "architecture": wish.platform.architecture,
            "os": wish.platform.os,
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id.to_string()] },
            "history": [{ "created": created, "comment": wish.comment }],
            "comment": wish.comment,
        });
        if let Some(variant) = &wish.platform.variant {
            config["variant"] = json!(variant);
        }
        let config_bytes = config.to_string().into_bytes();
        let parsed = ImageConfig::parse(&config_bytes).map_err(|error| LoadError::store(error.into()))?;
        let digest = |bytes: &[u8]| Digest::from_bytes(Sha256::digest(bytes).into());
        let id = digest(&config_bytes);
        let layers = vec![layer];
        let manifest_bytes = manifest(OCI_TYPES, (&id, config_bytes.len()), &layers).to_string().into_bytes();
        let manifest = digest(&manifest_bytes);
        let _image = shared.hold(vec![id, manifest]);
        let keep = || {
            shared.blobs.write(&id, &config_bytes)?;
            shared.blobs.write(&manifest, &manifest_bytes)?;
            shared.sync()?;
            shared.layers.sync()?;
            let record = Record { id, manifest, layers, tagged: now };
            shared.keep_record(&shared.change(), record, &parsed)
        };
        keep().map_err(LoadError::store)?;
        Ok(id)
    }

    /// The tar, compressed and measured on its way to the disk.
    fn written(&self, tar: Pieces) -> Result<NewLayer, LoadError> {
        let mut tar = uncompressed(tar, &self.shared.windows)?;
        let mut layer = self.write_layer().map_err(LoadError::store)?;
        let mut piece = vec![0; PIECE];
        loop {
            let read = tar.read(&mut piece).map_err(LoadError::import)?;
            if read == 0 {
                return layer.finish().map_err(LoadError::store);
            }
            layer.write(&piece[..read]).map_err(LoadError::store)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::sync::mpsc;

    use super::*;
    use crate::image::fake::{digest_of, gzip, layer, open, settings};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_system_becomes_an_image_of_one_layer_whatever_its_compression() {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        let tar = layer("a", b"12345");
        let import = async |sent: &[u8]| {
            let (sender, receiver) = mpsc::channel(2);
            sender.send(Ok(Bytes::copy_from_slice(sent))).await.unwrap();
            sender.send(Ok(Bytes::new())).await.unwrap();
            let platform = "linux/arm/v7".parse().unwrap();
            let wish = ImportWish { config: json!({"Cmd": ["/a"]}), comment: "mine".to_owned(), platform };
            images.import(Pieces::new(receiver), wish).await
        };
        for sent in [tar.clone(), gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()] {
            let image = images.get(&import(&sent).await.unwrap()).unwrap();
            assert_eq!((image.diff_ids(), image.size()), (vec![digest_of(&tar)], 5));
            assert_eq!(image.config().platform().to_string(), "linux/arm/v7");
            assert_eq!(image.config().config.cmd.as_deref(), Some(&["/a".to_owned()][..]));
            assert_eq!(image.history()[0].comment, "mine");
        }
        let told = import(&b"no tar at all ".repeat(100)).await.unwrap_err().to_string();
        assert_eq!(told, "archive/tar: invalid tar header: number");
    }
}
