//! Images made without an engine: layers from what a test names, a configuration and a manifest as the OCI image
//! specification has them. The same calls give the same digests.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{EntryType, Header};

/// Media types of the OCI image specification 1.1.
pub mod media_type {
    /// One image for one platform.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// One image for several platforms.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// What a container of the image runs.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A tar, compressed by gzip.
    pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
}

/// For all files and configurations.
const MADE_AT: &str = "2026-01-01T00:00:00Z";
const MADE_AT_SECONDS: u64 = 1_767_225_600;

/// `sha256:` and 64 hex digits.
pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// A tar in the making. Paths are written as they are given, hostile ones included.
#[derive(Default)]
pub struct Layer {
    tar: Vec<u8>,
}

impl Layer {
    /// All that a tar holds, made by another program.
    pub fn of_tar(tar: Vec<u8>) -> Layer {
        Layer { tar }
    }

    /// A folder of mode 0755.
    pub fn folder(self, path: &str) -> Layer {
        self.entry(EntryType::Directory, path, 0o755, None, &[])
    }

    /// A regular file.
    pub fn file(self, path: &str, mode: u32, content: &[u8]) -> Layer {
        self.entry(EntryType::Regular, path, mode, None, content)
    }

    /// A symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Layer {
        self.entry(EntryType::Symlink, path, 0o777, Some(target), &[])
    }

    /// A second name for a file of the image.
    pub fn hard_link(self, path: &str, target: &str) -> Layer {
        self.entry(EntryType::Link, path, 0o644, Some(target), &[])
    }

    /// Any entry. Names of 100 bytes and more are cut: tests have none.
    pub fn entry(
        mut self,
        kind: EntryType,
        path: &str,
        mode: u32,
        target: Option<&str>,
        content: &[u8],
    ) -> Layer {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(MADE_AT_SECONDS);
        header.set_size(content.len() as u64);
        // Not by `set_path`, which refuses the paths that a hostile layer has.
        let raw = header.as_old_mut();
        copy(&mut raw.name, path);
        copy(&mut raw.linkname, target.unwrap_or_default());
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(content);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    /// The whole tar.
    pub fn into_tar(mut self) -> Vec<u8> {
        self.tar.resize(self.tar.len() + 1024, 0);
        self.tar
    }
}

fn copy(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// Bytes in a registry, and what refers to them says about them.
#[derive(Clone)]
pub struct Blob {
    /// One of [`media_type`].
    pub media_type: &'static str,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Names the content.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    /// A descriptor, as the specification calls it.
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

/// An image for one platform.
#[derive(Clone)]
pub struct Image {
    /// Processor, as Go calls it.
    pub architecture: &'static str,
    /// Bottom layer first, compressed.
    pub layers: Vec<Blob>,
    /// The image's configuration.
    pub config: Blob,
    /// Refers to the others.
    pub manifest: Blob,
}

impl Image {
    /// For the processor that the tests run on. `layers` from the bottom; `config` is what the specification
    /// calls `config` inside the configuration: `Cmd`, `Env` and so on.
    pub fn new(layers: Vec<Layer>, config: Value) -> Result<Image> {
        Image::for_architecture("amd64", layers, config)
    }

    /// For any processor.
    pub fn for_architecture(architecture: &'static str, layers: Vec<Layer>, config: Value) -> Result<Image> {
        let tars: Vec<Vec<u8>> = layers.into_iter().map(Layer::into_tar).collect();
        let history: Vec<Value> = (1..=tars.len())
            .map(|layer| json!({ "created": MADE_AT, "created_by": format!("COPY layer{layer} /") }))
            .collect();
        let config = json!({
            "created": MADE_AT,
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| digest(tar)).collect::<Vec<_>>() },
            "history": history,
        });
        let config = Blob { media_type: media_type::CONFIG, bytes: serde_json::to_vec(&config)? };
        let layers = tars.iter().map(|tar| compressed(tar)).collect::<Result<Vec<_>>>()?;
        Ok(Image { architecture, manifest: manifest(&config, &layers)?, layers, config })
    }
}

/// One image for several platforms.
pub fn index(images: &[Image]) -> Result<Blob> {
    let descriptor = |image: &Image| {
        let mut descriptor = image.manifest.descriptor();
        descriptor["platform"] = json!({ "architecture": image.architecture, "os": "linux" });
        descriptor
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media_type::INDEX,
        "manifests": images.iter().map(descriptor).collect::<Vec<_>>(),
    });
    Ok(Blob { media_type: media_type::INDEX, bytes: serde_json::to_vec(&index)? })
}

/// The manifest over these; tests that want a wrong one call it with what does not fit.
pub fn manifest(config: &Blob, layers: &[Blob]) -> Result<Blob> {
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    Ok(Blob { media_type: media_type::MANIFEST, bytes: serde_json::to_vec(&manifest)? })
}

fn compressed(tar: &[u8]) -> Result<Blob> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    gzip.write_all(tar)?;
    Ok(Blob { media_type: media_type::LAYER, bytes: gzip.finish()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_calls_give_the_same_digests() {
        let make = || {
            let layer =
                Layer::default().folder("etc/").file("etc/motd", 0o644, b"hello\n").symlink("m", "etc/motd");
            Image::new(vec![layer], json!({ "Cmd": ["/bin/true"] })).unwrap()
        };
        assert_eq!(make().manifest.digest(), make().manifest.digest());
        assert_eq!(index(&[make()]).unwrap().digest(), index(&[make()]).unwrap().digest());
    }

    #[test]
    fn an_ordinary_reader_understands_a_layer() {
        let tar =
            Layer::default().file("etc/motd", 0o600, b"hello\n").hard_link("motd", "etc/motd").into_tar();
        let mut archive = tar::Archive::new(tar.as_slice());
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap(), entry.size())
            })
            .collect();
        assert_eq!(found, [("etc/motd".into(), 0o600, 6), ("motd".into(), 0o644, 0)]);
    }

    #[test]
    fn a_hostile_path_is_written_as_it_is() {
        let tar = Layer::default().file("../../etc/shadow", 0o644, b"").into_tar();
        assert!(tar.starts_with(b"../../etc/shadow\0"));
    }
}
