use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::image::fake::{digest_of, gzip, layer, open, settings};

/// A store.
struct Ground {
    folder: tempfile::TempDir,
    images: Images,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = open(folder.path(), settings());
        Self { folder, images }
    }

    async fn load(&self, archive: &[u8]) -> Result<Vec<Loaded>, LoadError> {
        self.load_for(archive, None).await
    }

    async fn load_for(&self, archive: &[u8], platform: Option<&str>) -> Result<Vec<Loaded>, LoadError> {
        let (sender, receiver) = mpsc::channel(1);
        let (progress, _lines) = mpsc::channel(64);
        let platform = platform.map(|text| text.parse().unwrap());
        let sending = async {
            for piece in archive.chunks(100_000).map(Bytes::copy_from_slice).chain([Bytes::new()]) {
                if sender.send(Ok(piece)).await.is_err() {
                    break;
                }
            }
        };
        let loading = self.images.load(Pieces::new(receiver), platform, progress);
        let (loaded, ()) = tokio::join!(loading, sending);
        self.images.sweep(Vec::new()).await.unwrap();
        loaded
    }

    fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(folder)).unwrap().count()
    }

    /// What is kept: records, blobs, layers. Nothing is half-made.
    fn kept(&self) -> (usize, usize, usize) {
        assert_eq!((self.count("images/tmp"), self.count("layers/tmp")), (0, 0));
        (self.count("images/records"), self.count("images/blobs/sha256"), self.count("layers/sha256"))
    }
}

/// Members of an archive, in the order of their names as docker and skopeo write them.
type Files = BTreeMap<String, Vec<u8>>;

fn archive(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut builder, name, content);
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    // Not by `set_path`, which refuses what a hostile archive has.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    builder.append(&header, content).unwrap();
}

fn link(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    builder.append(&header, &[][..]).unwrap();
}

fn config(tars: &[&[u8]], architecture: &str) -> Vec<u8> {
    let diff_ids: Vec<_> = tars.iter().map(|tar| digest_of(tar).to_string()).collect();
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Cmd": ["/app"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    config.to_string().into_bytes()
}

/// Adds a blob to a layout and returns its descriptor.
fn blob(files: &mut Files, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest_of(bytes);
    files.insert(format!("blobs/sha256/{}", digest.hex()), bytes.to_vec());
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
}

/// Adds an image to a layout and returns its manifest's descriptor.
fn image(files: &mut Files, architecture: &str, layers: &[(&[u8], &[u8])]) -> Value {
    let tars: Vec<&[u8]> = layers.iter().map(|(tar, _)| *tar).collect();
    let config = blob(files, "application/vnd.oci.image.config.v1+json", &config(&tars, architecture));
    let layers: Vec<_> = layers
        .iter()
        .map(|(_, sent)| blob(files, "application/vnd.oci.image.layer.v1.tar+gzip", sent))
        .collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": layers,
    });
    let mut descriptor =
        blob(files, "application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
    descriptor
}

fn index(manifests: &[Value]) -> Vec<u8> {
    let media_type = "application/vnd.oci.image.index.v1+json";
    json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_docker_saved_before_there_were_layouts_is_loaded_links_and_all() {
    let ground = Ground::new();
    let (a, b) = (layer("a", b"1"), layer("b", b"22"));
    let config = config(&[&a, &b, &a], "amd64");
    let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1", "other/app:2"],
        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"]}]);
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, "1/layer.tar", &a);
    append(&mut builder, "2/layer.tar", &b);
    link(&mut builder, tar::EntryType::Symlink, "3/layer.tar", "../1/layer.tar");
    append(&mut builder, "c.json", &config);
    append(&mut builder, "manifest.json", manifest.to_string().as_bytes());
    append(&mut builder, "repositories", b"{}");
    let archive = builder.into_inner().unwrap();

    let loaded = ground.load(&archive).await.unwrap();
    let id = digest_of(&config);
    let names: Vec<_> = loaded[0].names.iter().map(|(name, _)| name.familiar()).collect();
    assert_eq!((loaded[0].id, names), (id, vec!["app:1".to_owned(), "other/app:2".to_owned()]));
    let image = ground.images.find("other/app:2").unwrap();
    assert_eq!((image.id(), image.size()), (id, 1 + 2 + 1));
    assert_eq!(image.layers()[0].media_type, "application/vnd.oci.image.layer.v1.tar");
    // Two layers, the configuration, and a manifest that was made for them.
    assert_eq!(ground.kept(), (1, 4, 2));
    // Again, it changes nothing.
    assert_eq!(ground.load(&archive).await.unwrap(), loaded);
    assert_eq!(ground.kept(), (1, 4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_keeps_its_manifests_and_layers_as_they_came() {
    let ground = Ground::new();
    let (a, b) = (layer("a", b"1"), layer("b", &[7; 100_000]));
    let (packed_a, packed_b) = (gzip(&a), zstd::encode_all(&b[..], 1).unwrap());
    let mut files = Files::new();
    let mut one = image(&mut files, "amd64", &[(&a, &packed_a), (&b, &packed_b)]);
    let two = image(&mut files, "amd64", &[(&a, &packed_a)]);
    one["annotations"] = json!({"io.containerd.image.name": "docker.io/library/app:1"});
    files.insert("index.json".to_owned(), index(&[one.clone(), two]));
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    let plain = archive(&files);
    for archive in [gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap(), plain] {
        let loaded = ground.load(&archive).await.unwrap();
        assert_eq!((loaded.len(), loaded[1].names.len()), (2, 0));
        let image = ground.images.find("app:1").unwrap();
        assert_eq!(image.manifest().to_string(), one["digest"]);
        assert_eq!(image.layers()[1].blob, digest_of(&packed_b));
        assert_eq!(ground.kept(), (2, 6, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_lists_within_lists_the_image_for_the_machine_is_loaded() {
    let ground = Ground::new();
    let (a, b) = (layer("a", b"1"), layer("b", b"2"));
    let mut files = Files::new();
    let ours = image(&mut files, "amd64", &[(&a, &gzip(&a))]);
    let arm = image(&mut files, "arm64", &[(&b, &gzip(&b))]);
    let list = index(&[arm.clone(), ours]);
    let mut list = blob(&mut files, "application/vnd.oci.image.index.v1+json", &list);
    list["annotations"] = json!({"org.opencontainers.image.ref.name": "app:2"});
    files.insert("index.json".to_owned(), index(&[list]));
    let both = archive(&files);

    ground.load_for(&both, Some("linux/amd64")).await.unwrap();
    assert_eq!(ground.images.find("app:2").unwrap().config().architecture, "amd64");
    // The other one's layer was unpacked beside it, and is gone.
    assert_eq!(ground.kept(), (1, 3, 1));
    ground.load_for(&both, Some("linux/arm64")).await.unwrap();
    assert_eq!(ground.images.find("app:2").unwrap().config().architecture, "arm64");
    assert!(ground.load_for(&both, Some("linux/s390x")).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_list_whose_images_were_left_out_the_one_that_is_there_is_meant() {
    let ground = Ground::new();
    let (a, b) = (layer("a", b"1"), layer("b", b"2"));
    let mut files = Files::new();
    let ours = image(&mut Files::new(), "amd64", &[(&a, &gzip(&a))]);
    let other = image(&mut files, "s390x", &[(&b, &gzip(&b))]);
    let list = index(&[ours, other]);
    let list = blob(&mut files, "application/vnd.oci.image.index.v1+json", &list);
    files.insert("index.json".to_owned(), index(&[list]));
    let loaded = ground.load(&archive(&files)).await.unwrap();
    assert_eq!(ground.images.get(&loaded[0].id).unwrap().config().architecture, "s390x");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_wrong_is_refused_by_name_and_leaves_nothing() {
    let a = layer("a", b"1");
    let good = config(&[&a], "amd64");
    let manifest = |layers: &[&str], tags: &[&str]| {
        json!([{"Config": "c.json", "RepoTags": tags, "Layers": layers}]).to_string().into_bytes()
    };
    let whole = |files: &[(&str, &[u8])]| {
        let files = files.iter().map(|(name, content)| ((*name).to_owned(), content.to_vec()));
        archive(&files.collect())
    };
    let special = |kind, target: &str| {
        let mut builder = tar::Builder::new(Vec::new());
        link(&mut builder, kind, "l.tar", target);
        append(&mut builder, "c.json", &good);
        append(&mut builder, "manifest.json", &manifest(&["l.tar"], &["app:1"]));
        builder.into_inner().unwrap()
    };
    let twice = {
        let mut builder = tar::Builder::new(Vec::new());
        append(&mut builder, "l.tar", &a);
        append(&mut builder, "l.tar", &layer("b", b"2"));
        builder.into_inner().unwrap()
    };
    let huge = vec![b' '; (4 << 20) + 1];
    let right = manifest(&["l.tar"], &["app:1"]);
    let windows = br#"{"os":"windows","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let wrong_diff = format!(
        "invalid diffID for layer 0: expected \"{}\", got \"{}\"",
        digest_of(&a),
        digest_of(&layer("b", b"2"))
    );
    for (archive, told) in [
        (whole(&[("c.json", &good), ("manifest.json", &right)]), "open l.tar: no such file or directory"),
        (whole(&[("l.tar", &a), ("manifest.json", &right)]), "open c.json: no such file or directory"),
        (
            whole(&[("c.json", &good), ("l.tar", &layer("b", b"2")), ("manifest.json", &right)]),
            wrong_diff.as_str(),
        ),
        (
            whole(&[("c.json", &good), ("manifest.json", &manifest(&[], &[]))]),
            "invalid manifest, layers length mismatch: expected 0, got 1",
        ),
        (
            whole(&[("c.json", &good), ("l.tar", &a), ("manifest.json", &manifest(&["l.tar"], &["app"]))]),
            "invalid tag \"app\"",
        ),
        (whole(&[("manifest.json", b"null")]), "invalid manifest, manifest cannot be null (but can be [])"),
        (
            whole(&[("manifest.json", &huge)]),
            "manifest.json is 4194305 bytes long; at most 4194304 are taken",
        ),
        (whole(&[("../x", b"1")]), "\"../x\" is outside of the archive"),
        (
            whole(&[("etc/passwd", b"root")]),
            "the archive holds no images: it has neither manifest.json nor index.json",
        ),
        (
            whole(&[("c.json", windows), ("manifest.json", &manifest(&[], &[]))]),
            "cannot load windows image on linux",
        ),
        (special(tar::EntryType::Symlink, "../../etc/shadow"), "\"l.tar\" is outside of the archive"),
        (special(tar::EntryType::Char, ""), "\"l.tar\" is a character device in the archive, not a file"),
        (special(tar::EntryType::Link, "gone"), "open l.tar: no such file or directory"),
        (twice, "\"l.tar\" is twice in the archive, and not the same"),
        (whole(&[("l.tar", &a)])[..700].to_vec(), "unexpected EOF"),
        (b"nonsense".repeat(100), "archive/tar: invalid tar header: number"),
        (b"BZh9".repeat(100), "archives by bzip2 are not taken; gzip and zstd are"),
        (b"\xfd7zXZ\0".repeat(100), "archives by xz are not taken; gzip and zstd are"),
    ] {
        let ground = Ground::new();
        let error = ground.load(&archive).await.unwrap_err();
        assert_eq!(error.to_string(), told);
        assert_eq!(ground.kept(), (0, 0, 0), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_whose_files_are_not_what_their_names_say_is_refused() {
    let ground = Ground::new();
    let a = layer("a", b"1");
    let packed = gzip(&a);
    let mut files = Files::new();
    let one = image(&mut files, "amd64", &[(&a, &packed)]);
    files.insert("index.json".to_owned(), index(&[one]));
    let path = format!("blobs/sha256/{}", digest_of(&packed).hex());
    files.insert(path.clone(), gzip(&layer("a", b"2")));
    let told = ground.load(&archive(&files)).await.unwrap_err().to_string();
    assert!(told.starts_with(&format!("{path}: its content has the digest sha256:")), "{told}");
    files.remove(&path);
    let told = ground.load(&archive(&files)).await.unwrap_err().to_string();
    assert_eq!(told, format!("open {path}: no such file or directory"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing() {
    let ground = Ground::new();
    let (a, b) = (layer("a", &[1; 5000]), layer("b", b"2"));
    let mut files = Files::new();
    image(&mut files, "amd64", &[(&a, &gzip(&a)), (&b, &gzip(&b))]);
    let archive = archive(&files);
    let (sender, receiver) = mpsc::channel(4);
    let (progress, _lines) = mpsc::channel(64);
    let loading = ground.images.load(Pieces::new(receiver), None, progress);
    sender.send(Ok(Bytes::copy_from_slice(&archive[..archive.len() / 2]))).await.unwrap();
    drop(sender);
    loading.await.unwrap_err();
    ground.images.sweep(Vec::new()).await.unwrap();
    assert_eq!(ground.kept(), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_another_image_had_is_told_with_that_image() {
    let ground = Ground::new();
    let save = |content: &[u8]| {
        let a = layer("a", content);
        let manifest = json!([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l.tar"]}]).to_string();
        let files = [("c.json", config(&[&a], "amd64")), ("l.tar", a), ("manifest.json", manifest.into())];
        archive(&files.map(|(name, content)| (name.to_owned(), content)).into())
    };
    let first = ground.load(&save(b"1")).await.unwrap();
    let second = ground.load(&save(b"2")).await.unwrap();
    assert_eq!(second[0].names[0].1, Some(first[0].id));
    assert_eq!(ground.images.find("app:1").unwrap().id(), second[0].id);
}
