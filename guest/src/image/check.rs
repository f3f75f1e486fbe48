//! Looks whether the store is whole: every part of every image is there and is what its name says, every name means
//! an image, every container's layers are there, and nothing lies about that is nobody's. Repairs nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::sync::Arc;

use holm_api::check::Report;
use holm_api::{Digest, Reference};
use sha2::{Digest as _, Sha256};

use super::config::{ImageConfig, LONGEST_CONFIG};
use super::record::{Entry, Record};
use super::{ContainerUse, Hold, Images, NAMES, RECORDS, blocking};

/// Problems that are listed. Where there are more, they are alike.
const MOST_PROBLEMS: usize = 1_000;
/// Bytes of a blob that are read at once.
const PIECE: usize = 256 << 10;

/// The store at one moment. What is in it then stays until all of it was read.
struct Snapshot {
    entries: Vec<Arc<Entry>>,
    names: BTreeMap<Reference, Digest>,
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
    /// What somebody needs.
    needed: HashSet<Digest>,
    /// Records on the disk.
    records: BTreeMap<Digest, Record>,
    names_on_disk: BTreeMap<Reference, Digest>,
    _hold: Hold,
}

#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn add(&mut self, sentence: impl Into<String>) {
        if self.0.len() < MOST_PROBLEMS {
            self.0.push(sentence.into());
        }
    }
}

impl Images {
    /// Reads all of the store. `containers` are those that stand on images.
    pub(crate) async fn check(&self, containers: Vec<ContainerUse>) -> io::Result<Report> {
        let images = self.clone();
        blocking(move || images.check_blocking(&containers)).await
    }

    fn check_blocking(&self, containers: &[ContainerUse]) -> io::Result<Report> {
        let mut problems = Problems::default();
        let snapshot = self.snapshot(containers, &mut problems)?;
        let mut report = Report {
            images: snapshot.entries.len() as u64,
            names: snapshot.names.len() as u64,
            blobs: snapshot.blobs.len() as u64,
            layers: snapshot.layers.len() as u64,
            containers: containers.len() as u64,
            ..Report::default()
        };
        let mut sizes = HashMap::new();
        for blob in &snapshot.blobs {
            match self.read_through(blob) {
                Ok((size, digest)) if digest == *blob => {
                    sizes.insert(*blob, size);
                    report.bytes += size;
                }
                Ok((_, digest)) => problems.add(format!("blob {blob} is damaged: its content is {digest}")),
                Err(error) => problems.add(format!("blob {blob} cannot be read: {error}")),
            }
        }
        for entry in &snapshot.entries {
            self.check_image(entry, &snapshot, &sizes, &mut problems);
        }
        snapshot.check_names(&mut problems);
        for container in containers {
            for layer in container.layers.iter().filter(|layer| !snapshot.layers.contains(layer)) {
                problems.add(format!("container {} lacks its layer {layer}", container.container.short()));
            }
        }
        for (kind, all) in [("blob", &snapshot.blobs), ("layer", &snapshot.layers)] {
            for digest in all.iter().filter(|digest| !snapshot.needed.contains(digest)) {
                problems.add(format!("{kind} {digest} belongs to no image and no container"));
            }
        }
        report.problems = problems.0;
        Ok(report)
    }

    /// Under the lock, so that nothing comes or goes meanwhile.
    fn snapshot(&self, containers: &[ContainerUse], problems: &mut Problems) -> io::Result<Snapshot> {
        let shared = &self.shared;
        let _changing = shared.change();
        let kept: Vec<Digest> = containers.iter().flat_map(|container| container.layers.clone()).collect();
        let needed = shared.needed(&kept);
        let (blobs, layers) = (shared.blobs.list()?, shared.layers.list()?);
        let hold = shared.hold(blobs.iter().chain(&layers).copied().collect());
        let mut records = BTreeMap::new();
        for file in fs::read_dir(shared.root.join(RECORDS))? {
            let path = file?.path();
            match serde_json::from_slice::<Record>(&fs::read(&path)?) {
                Ok(record) => drop(records.insert(record.id, record)),
                Err(error) => problems.add(format!("{} is damaged: {error}", path.display())),
            }
        }
        let names_on_disk = match super::read_names(&shared.root) {
            Ok(names) => names.all().clone(),
            Err(error) => {
                problems.add(format!("{} is damaged: {error}", shared.root.join(NAMES).display()));
                BTreeMap::new()
            }
        };
        let table = shared.table();
        Ok(Snapshot {
            entries: table.entries.values().cloned().collect(),
            names: table.names.all().clone(),
            blobs: blobs.into_iter().collect(),
            layers: layers.into_iter().collect(),
            needed,
            records,
            names_on_disk,
            _hold: hold,
        })
    }

    /// A blob's length and digest, as they are on the disk.
    fn read_through(&self, blob: &Digest) -> io::Result<(u64, Digest)> {
        let mut file = File::open(self.shared.blobs.path(blob))?;
        let (mut hash, mut size, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok((size, Digest::from_bytes(hash.finalize().into())));
            }
            hash.update(&piece[..read]);
            size += read as u64;
        }
    }

    fn check_image(
        &self,
        entry: &Entry,
        snapshot: &Snapshot,
        sizes: &HashMap<Digest, u64>,
        problems: &mut Problems,
    ) {
        let record = &entry.record;
        let image = record.id.short();
        match snapshot.records.get(&record.id) {
            None => problems.add(format!("image {image} has no record on the disk")),
            Some(kept) if kept.layers != record.layers || kept.manifest != record.manifest => {
                problems.add(format!("image {image} has another record on the disk than in memory"));
            }
            Some(_) => {}
        }
        for (what, digest) in [("configuration", record.id), ("manifest", record.manifest)] {
            if !snapshot.blobs.contains(&digest) {
                problems.add(format!("image {image} lacks its {what} {digest}"));
            }
        }
        for layer in &record.layers {
            match sizes.get(&layer.blob) {
                None if !snapshot.blobs.contains(&layer.blob) => {
                    problems.add(format!("image {image} lacks the blob {} of a layer", layer.blob));
                }
                Some(size) if *size != layer.blob_size => {
                    let (blob, expected) = (layer.blob, layer.blob_size);
                    problems
                        .add(format!("blob {blob} of image {image} is {size} bytes long, not {expected}"));
                }
                _ => {}
            }
            if !snapshot.layers.contains(&layer.diff_id) {
                problems.add(format!("image {image} lacks its unpacked layer {}", layer.diff_id));
            }
        }
        let config = self.shared.blobs.read(&record.id, LONGEST_CONFIG).ok();
        let config = config.and_then(|bytes| ImageConfig::parse(&bytes).ok());
        if let Some(config) = config
            && !config.rootfs.diff_ids.iter().eq(record.layers.iter().map(|layer| &layer.diff_id))
        {
            problems.add(format!("image {image} has other layers than its configuration says"));
        }
    }
}

impl Snapshot {
    fn check_names(&self, problems: &mut Problems) {
        let known: HashSet<Digest> = self.entries.iter().map(|entry| entry.record.id).collect();
        for (name, id) in self.names.iter().filter(|(_, id)| !known.contains(id)) {
            problems.add(format!("{} means {}, which is no image", name.familiar(), id.short()));
        }
        if self.names != self.names_on_disk {
            problems.add("the names of images on the disk are not those in memory");
        }
        for id in self.records.keys().filter(|id| !known.contains(id)) {
            problems.add(format!("the disk has a record of {}, which is no image", id.short()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::PullRequest;
    use crate::image::fake::{FakeRegistry, digest_of, gzip, layer, open, settings};
    use holm_api::ContainerId;
    use tokio::sync::mpsc;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_is_whole_until_something_of_it_is_changed_or_gone_or_too_much() {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        let registry = FakeRegistry::start().await;
        let tar = layer("a", b"1");
        let packed = gzip(&tar);
        registry.image("1", &[(tar.clone(), packed.clone())]);
        let request = PullRequest {
            reference: registry.reference("app:1").parse().unwrap(),
            platform: Some("linux/amd64".parse().unwrap()),
            auth: crate::image::RegistryAuth::Anonymous,
        };
        let (progress, mut lines) = mpsc::channel(4);
        let taking = tokio::spawn(async move { while lines.recv().await.is_some() {} });
        let id = images.pull(request, progress).await.unwrap();
        taking.await.unwrap();

        let report = images.check(Vec::new()).await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert_eq!((report.images, report.names, report.blobs, report.layers), (1, 2, 3, 1));

        let blobs = folder.path().join("images/blobs/sha256");
        let blob = digest_of(&packed);
        let layers = folder.path().join("layers/sha256");
        let found = async || images.check(Vec::new()).await.unwrap().problems;
        fs::write(blobs.join(blob.hex()), vec![0; packed.len()]).unwrap();
        assert!(found().await[0].starts_with(&format!("blob {blob} is damaged: its content is sha256:")));
        fs::remove_file(blobs.join(blob.hex())).unwrap();
        let lacking = format!("image {} lacks the blob {blob} of a layer", id.short());
        assert_eq!(found().await, [lacking]);
        fs::write(blobs.join(blob.hex()), &packed).unwrap();

        let stray = digest_of(b"stray");
        fs::write(blobs.join(stray.hex()), b"stray").unwrap();
        assert_eq!(found().await, [format!("blob {stray} belongs to no image and no container")]);
        fs::remove_file(blobs.join(stray.hex())).unwrap();

        let names = folder.path().join("images/names.json");
        let kept = fs::read(&names).unwrap();
        fs::write(&names, "{}").unwrap();
        assert_eq!(found().await, ["the names of images on the disk are not those in memory"]);
        fs::write(&names, kept).unwrap();

        let gone = Digest::from_bytes([9; 32]);
        let container: ContainerId = "c".repeat(64).parse().unwrap();
        let uses = ContainerUse { container, image: id, layers: vec![gone], running: false };
        let told = images.check(vec![uses]).await.unwrap().problems;
        assert_eq!(told, [format!("container cccccccccccc lacks its layer {gone}")]);

        fs::remove_dir_all(layers.join(digest_of(&tar).hex())).unwrap();
        let lacking = format!("image {} lacks its unpacked layer {}", id.short(), digest_of(&tar));
        assert_eq!(found().await, [lacking]);
    }
}
