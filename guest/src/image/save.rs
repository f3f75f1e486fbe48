//! Saves images to an archive as docker 28 writes them: an OCI layout with a `manifest.json` for older programs.
//! Manifests, configurations and layers are the bytes that came, so digests are kept; two archives of the same images
//! are the same, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::Bytes;
use holm_api::{Digest, ParseReferenceError, Reference};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use super::platform::Platform;
use super::pull::manifest::kind_of;
use super::{FindError, Hold, Image, Images, Shared, blocking};
use crate::archive::write::{self, Kind, Member};

/// Bytes sent at once.
const PIECE: usize = 256 << 10;
/// Pieces that the disk may be ahead of the client.
const AHEAD: usize = 4;

/// Why images cannot be saved.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// A name that cannot be one.
    #[error(transparent)]
    Reference(#[from] ParseReferenceError),
    /// There is no such name.
    #[error("reference does not exist")]
    NoSuchName,
    /// There is no such image.
    #[error(transparent)]
    Find(#[from] FindError),
    /// The image is for another kind of machine than is wanted.
    #[error("no suitable export target found for platform {0}")]
    Platform(Platform),
    /// The machine's disk does not do what it should.
    #[error("cannot read the image")]
    Store(#[from] io::Error),
}

/// Images that will be saved, and the names that go with them.
pub(crate) struct Archive {
    images: Vec<(Image, BTreeSet<Reference>)>,
    files: BTreeMap<String, Source>,
    shared: Arc<Shared>,
    _hold: Hold,
}

/// Where a file's bytes are.
enum Source {
    Memory(Vec<u8>),
    Blob(Digest, u64),
}

impl Images {
    /// Finds the images that `names` mean, by moby's rules: a repository's name means all its tags, and an id or
    /// a digest means the image without any name.
    pub(crate) async fn archive(
        &self,
        names: Vec<String>,
        platform: Option<Platform>,
    ) -> Result<Archive, SaveError> {
        let images = self.clone();
        blocking(move || images.archive_blocking(&names, platform.as_ref())).await
    }

    fn archive_blocking(&self, names: &[String], platform: Option<&Platform>) -> Result<Archive, SaveError> {
        let mut images: Vec<(Image, BTreeSet<Reference>)> = Vec::new();
        for name in names {
            for (image, name) in self.meant(name)? {
                if let Some(platform) = platform.filter(|wanted| image.config().platform() != wanted.normal())
                {
                    return Err(SaveError::Platform(platform.normal()));
                }
                let name = name.filter(|name| name.digest().is_none());
                match images.iter_mut().find(|(other, _)| other.id() == image.id()) {
                    Some((_, names)) => names.extend(name),
                    None => images.push((image, name.into_iter().collect())),
                }
            }
        }
        // However they were asked for.
        images.sort_by_key(|(image, _)| image.id());
        let digests = images.iter().flat_map(|(image, _)| {
            let layers = image.layers().iter().map(|layer| layer.blob);
            [image.id(), image.manifest()].into_iter().chain(layers)
        });
        let hold = self.shared.hold(digests.collect());
        // In this order: a removal first forgets the image and then asks what is held.
        if let Some((gone, _)) = images.iter().find(|(image, _)| self.get(&image.id()).is_none()) {
            return Err(FindError::NotFound(gone.id().to_string()).into());
        }
        let shared = self.shared.clone();
        let mut archive = Archive { images, files: BTreeMap::new(), shared, _hold: hold };
        archive.list()?;
        Ok(archive)
    }

    fn meant(&self, text: &str) -> Result<Vec<(Image, Option<Reference>)>, SaveError> {
        let by_id = |text: &str| Ok(vec![(self.find(text)?, None)]);
        let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if text.starts_with("sha256:") || hex(text) {
            return by_id(text);
        }
        let reference: Reference = text.parse()?;
        if reference.tag().is_some() || reference.digest().is_some() {
            let image = self.get_named(&reference).ok_or(SaveError::NoSuchName)?;
            return Ok(vec![(image, Some(reference))]);
        }
        let mut named = Vec::new();
        for image in self.list() {
            let names = image.references().iter();
            let same = names.filter(|name| name.familiar_name() == reference.familiar_name());
            named.extend(same.map(|name| (image.clone(), Some(name.clone()))).collect::<Vec<_>>());
        }
        if named.is_empty() {
            // A short id, which is no name, or nothing.
            return match self.find(text) {
                Ok(image) => Ok(vec![(image, None)]),
                Err(_) => Err(FindError::NotFound(text.to_owned()).into()),
            };
        }
        Ok(named)
    }
}

impl Archive {
    /// Ids of the images, for whoever tells of it.
    pub(crate) fn ids(&self) -> Vec<Digest> {
        self.images.iter().map(|(image, _)| image.id()).collect()
    }

    /// Everything that will be in it.
    fn list(&mut self) -> io::Result<()> {
        let (mut manifests, mut items) = (Vec::new(), Vec::new());
        let mut repositories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for (image, names) in &self.images {
            let sizes = image.layers().iter().map(|layer| (layer.blob, layer.blob_size));
            let documents = [image.id(), image.manifest()];
            let mut layers = Vec::new();
            for (digest, size) in sizes {
                self.files.insert(path_of(&digest), Source::Blob(digest, size));
                layers.push(path_of(&digest));
            }
            let mut manifest = Vec::new();
            for digest in documents {
                manifest = self.shared.blobs.read(&digest, super::LONGEST_CONFIG)?;
                self.files.insert(path_of(&digest), Source::Blob(digest, manifest.len() as u64));
            }
            let descriptor = descriptor(&image.manifest(), &manifest);
            let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
            for name in names {
                let mut named = descriptor.clone();
                let tag = name.tag().unwrap_or("latest");
                named["annotations"] = json!({
                    "io.containerd.image.name": name.to_string(),
                    "org.opencontainers.image.ref.name": tag,
                });
                manifests.push(named);
                if let Some(top) = image.layers().last() {
                    let tags = repositories.entry(name.familiar_name()).or_default();
                    tags.insert(tag.to_owned(), top.diff_id.hex());
                }
            }
            if names.is_empty() {
                manifests.push(descriptor);
            }
            let tags = if tags.is_empty() { Value::Null } else { json!(tags) };
            items.push(json!({ "Config": path_of(&image.id()), "RepoTags": tags, "Layers": layers }));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": manifests,
        });
        let line = |value: &Value| format!("{value}\n").into_bytes();
        let mut add = |name: &str, bytes| self.files.insert(name.to_owned(), Source::Memory(bytes));
        add("index.json", index.to_string().into_bytes());
        add("manifest.json", line(&json!(items)));
        add("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec());
        if !repositories.is_empty() {
            add("repositories", line(&json!(repositories)));
        }
        Ok(())
    }

    /// The archive's bytes. A disk that gives others than were kept breaks it off.
    pub(crate) fn send(self) -> mpsc::Receiver<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        // Ends by itself when nobody takes the pieces.
        tokio::spawn(blocking(move || {
            let mut out = Out { sender: sender.clone(), piece: Vec::with_capacity(PIECE) };
            if let Err(error) = self.write(&mut out).and_then(|()| out.flush())
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                tracing::warn!("an archive of images broke off: {error}");
                // Whoever is gone does not want to know.
                let _ = sender.blocking_send(Err(error));
            }
        }));
        receiver
    }

    fn write(&self, out: &mut Out) -> io::Result<()> {
        for folder in ["blobs/", "blobs/sha256/"] {
            write::write_header(out, &member(folder, Kind::Directory, 0o755))?;
        }
        for (path, source) in &self.files {
            let size = match source {
                Source::Memory(bytes) => bytes.len() as u64,
                Source::Blob(_, size) => *size,
            };
            write::write_header(out, &member(path, Kind::File(size), 0o644))?;
            match source {
                Source::Memory(bytes) => out.write_all(bytes)?,
                Source::Blob(digest, size) => self.copy(digest, *size, out)?,
            }
            out.write_all(write::padding(size))?;
        }
        write::finish(out)
    }

    fn copy(&self, digest: &Digest, size: u64, out: &mut Out) -> io::Result<()> {
        let mut file = File::open(self.shared.blobs.path(digest))?.take(size);
        let (mut hash, mut copied) = (Sha256::new(), 0);
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            let read = file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece);
            copied += read as u64;
            out.pass(piece)?;
        }
        if copied != size || Digest::from_bytes(hash.finalize().into()) != *digest {
            let damaged = format!("the blob {digest} is damaged; pull or load its image again");
            return Err(io::Error::new(io::ErrorKind::InvalidData, damaged));
        }
        Ok(())
    }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// A manifest, as an index names it.
fn descriptor(digest: &Digest, bytes: &[u8]) -> Value {
    let own = serde_json::from_slice::<Value>(bytes).ok();
    let kind = own.as_ref().and_then(|manifest| manifest["mediaType"].as_str());
    json!({
        "mediaType": kind.unwrap_or_else(|| kind_of(bytes)),
        "digest": digest.to_string(),
        "size": bytes.len(),
    })
}

/// The same for everybody, whenever it is.
fn member<'a>(path: &'a str, kind: Kind<'a>, mode: u32) -> Member<'a> {
    Member { path: path.as_bytes(), kind, mode, uid: 0, gid: 0, mtime: (0, 0), xattrs: &[] }
}

/// Collects small writes and passes on large pieces.
struct Out {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Out {
    fn pass(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.flush()?;
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() + bytes.len() > PIECE {
            self.flush()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::take(&mut self.piece);
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Pieces;
    use crate::image::fake::{digest_of, gzip, layer, open, settings};

    /// A store with one image of two names, and what it was loaded from.
    async fn store() -> (tempfile::TempDir, Images, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        let tar = layer("a", b"1");
        let packed = gzip(&tar);
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [digest_of(&tar).to_string()] },
        })
        .to_string();
        let manifest = json!([{
            "Config": "c.json", "RepoTags": ["app:1", "app:2", "other:1"], "Layers": ["l.tar"],
        }]);
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in [
            ("c.json", config.as_bytes()),
            ("l.tar", &packed),
            ("manifest.json", manifest.to_string().as_bytes()),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content).unwrap();
        }
        load(&images, &builder.into_inner().unwrap()).await;
        (folder, images, packed)
    }

    async fn load(images: &Images, archive: &[u8]) {
        let (sender, receiver) = mpsc::channel(2);
        sender.send(Ok(Bytes::copy_from_slice(archive))).await.unwrap();
        sender.send(Ok(Bytes::new())).await.unwrap();
        let (progress, _lines) = mpsc::channel(64);
        images.load(Pieces::new(receiver), None, progress).await.unwrap();
    }

    async fn saved(images: &Images, names: &[&str]) -> io::Result<Vec<u8>> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let mut pieces = images.archive(names, None).await.unwrap().send();
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.recv().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    fn read(archive: &[u8], name: &str) -> Value {
        let mut archive = tar::Archive::new(archive);
        let mut entries = archive.entries().unwrap().map(Result::unwrap);
        let entry = entries.find(|entry| entry.path_bytes() == name.as_bytes()).unwrap();
        serde_json::from_reader(entry).unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_archive_is_the_same_every_time_and_keeps_all_digests() {
        let (_folder, images, packed) = store().await;
        let image = images.find("app:1").unwrap();
        let first = saved(&images, &["app", "other:1"]).await.unwrap();
        assert_eq!(saved(&images, &["other:1", "app:2", "app:1"]).await.unwrap(), first);
        let items = read(&first, "manifest.json");
        assert_eq!(items[0]["RepoTags"], json!(["app:1", "app:2", "other:1"]));
        assert_eq!(items[0]["Layers"], json!([path_of(&digest_of(&packed))]));
        let index = read(&first, "index.json");
        assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
        assert_eq!(index["manifests"][0]["digest"], image.manifest().to_string());
        let name = &index["manifests"][2]["annotations"]["io.containerd.image.name"];
        assert_eq!(name, "docker.io/library/other:1");
        assert_eq!(read(&first, "repositories")["app"]["2"], image.diff_ids()[0].hex());

        // Loaded elsewhere and saved again, it is still the same.
        let (_other_folder, other, _) = store().await;
        let by_id = other.find("app:1").unwrap().id().to_string();
        other.remove(&by_id, true, Vec::new()).await.unwrap();
        load(&other, &first).await;
        assert_eq!(saved(&other, &["app", "other"]).await.unwrap(), first);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_id_saves_an_image_without_its_names() {
        let (_folder, images, _) = store().await;
        let id = images.find("app:1").unwrap().id();
        for text in [id.to_string(), id.hex(), id.short()] {
            let archive = saved(&images, &[&text]).await.unwrap();
            assert_eq!(read(&archive, "manifest.json")[0]["RepoTags"], Value::Null, "{text}");
            assert!(read(&archive, "index.json")["manifests"][0].get("annotations").is_none());
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_not_there_is_told_in_mobys_words() {
        let (_folder, images, _) = store().await;
        for (name, platform, told) in [
            ("app:3", None, "reference does not exist"),
            ("nothing", None, "No such image: nothing"),
            ("app:1", Some("linux/arm64"), "no suitable export target found for platform linux/arm64"),
            ("App", None, "invalid reference format: repository name (library/App) must be lowercase"),
        ] {
            let platform = platform.map(|text: &str| text.parse().unwrap());
            let error = images.archive(vec![name.to_owned()], platform).await.err().unwrap();
            assert_eq!(error.to_string(), told);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_damaged_blob_breaks_the_archive_off() {
        let (folder, images, packed) = store().await;
        let path = folder.path().join("images").join(path_of(&digest_of(&packed)));
        std::fs::write(path, vec![0; packed.len()]).unwrap();
        let told = saved(&images, &["app:1"]).await.unwrap_err().to_string();
        assert!(told.contains("is damaged"), "{told}");
    }
}
