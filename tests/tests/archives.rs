//! Images in archives: saved, loaded, imported, by `holm` and by Docker's own client; and a store that is whole.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use holm_tests::home::Machine;
use holm_tests::image::Layer;
use holm_tests::on_every_machine;
use holm_tests::samples::{busybox, ready};
use serde_json::{Value, json};

on_every_machine!(
    saved_images_are_loaded_again_with_all_their_names,
    an_archive_that_cannot_be_used_is_named,
    a_file_system_is_imported_from_a_file_a_pipe_and_an_address,
);

const WHOLE: &str = "All of it is whole.";

/// One JSON member of an archive.
fn member(archive: &[u8], name: &str) -> Value {
    let mut archive = tar::Archive::new(archive);
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut entry = entries.find(|entry| entry.path_bytes() == name.as_bytes()).unwrap();
    let mut text = String::new();
    entry.read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn saved_images_are_loaded_again_with_all_their_names(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    for image in ["busybox", "hello-world"] {
        home.holm(&["pull", "-q", image]).ok();
    }
    home.holm(&["tag", "busybox", "team/app:1"]).ok();
    let file = home.path().join("images.tar");
    let path = file.to_str().unwrap();
    let id = home.holm(&["images", "-q", "--no-trunc", "busybox"]).line();

    home.holm(&["save", "-o", path, "busybox", "team/app:1", "hello-world"]).ok();
    let saved = fs::read(&file).unwrap();
    home.docker(&["save", "-o", path, "hello-world", "team/app:1", "busybox"]).ok();
    assert!(fs::read(&file).unwrap() == saved, "another order, and another client, gave another archive");
    let items = member(&saved, "manifest.json");
    assert_eq!(items.as_array().unwrap().len(), 2);
    let tags = items.as_array().unwrap().iter().map(|item| &item["RepoTags"]);
    assert!(tags.clone().any(|tags| *tags == json!(["busybox:latest", "team/app:1"])), "{items}");
    let pulled = home.holm(&["images", "--digests", "--format", "{{.Digest}}", "busybox"]).line();
    assert_ne!(pulled, "<none>");

    let forget = || {
        home.holm(&["rmi", "-f", "team/app:1", "busybox", "hello-world"]).ok();
        assert_eq!(home.holm(&["images", "-q"]).ok(), "");
        assert!(home.holm(&["system", "check"]).ok().contains("0 blobs"), "something was left over");
    };
    let names = "Loaded image: busybox:latest\nLoaded image: team/app:1\n";
    forget();
    let told = home.holm(&["load", "-i", path]).ok();
    assert!(told.contains(names) && told.contains("Loaded image: hello-world:latest\n"), "{told}");
    assert_eq!(home.holm(&["images", "-q", "--no-trunc", "team/app"]).line(), id);
    assert_eq!(home.holm(&["run", "--rm", "team/app:1", "echo", "again"]).ok(), "again\n");
    assert!(home.holm(&["system", "check"]).ok().contains(WHOLE));

    // As a pipe, compressed, through Docker's client; and what is there already stays as it is.
    forget();
    fs::write(&file, gzip(&saved)).unwrap();
    let told = home.docker(&["load", "-i", path]).ok();
    assert!(told.contains(names), "{told}");
    let told = home.holm_with_input(&["load"], &saved).ok();
    assert!(told.contains(names), "{told}");
    home.holm(&["save", "-o", path, "busybox", "team/app:1", "hello-world"]).ok();
    assert!(fs::read(&file).unwrap() == saved, "an archive changed on its way through the store");
    let events = home.holm(&["events", "--since", "1h", "--until", "0s", "--filter", "event=load"]).ok();
    assert!(events.contains(&id), "{events}");
}

fn an_archive_that_cannot_be_used_is_named(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "hello-world"]).ok();
    let load = |bytes: &[u8]| home.holm_with_input(&["load"], bytes).fails_with(1);
    let told = load(&b"nonsense".repeat(100));
    assert!(told.contains("archive/tar: invalid tar header"), "{told}");
    let told = load(&Layer::default().file("etc/motd", 0o644, b"hi").into_tar());
    assert!(told.contains("holds no images") && told.contains("manifest.json"), "{told}");
    let archive =
        Layer::default().file("manifest.json", 0o644, br#"[{"Config":"c","Layers":[]}]"#).into_tar();
    let told = load(&archive);
    assert!(told.contains("open c: no such file or directory"), "{told}");
    let told = home.holm(&["load", "-i", "/nowhere.tar"]).fails_with(1);
    assert!(told.contains("open /nowhere.tar: no such file or directory"), "{told}");

    let told = home.holm(&["save", "nothing:1"]).fails_with(1);
    assert!(told.contains("reference does not exist"), "{told}");
    let told = home.docker(&["save", "nothing"]).fails_with(1);
    assert!(told.contains("No such image: nothing"), "{told}");
    let told = home.holm(&["save", "--platform", "linux/arm64", "hello-world"]).fails_with(1);
    assert!(told.contains("no suitable export target found for platform linux/arm64"), "{told}");
    let told = home.holm(&["save", "-o", "/nowhere/x.tar", "hello-world"]).fails_with(1);
    assert!(told.contains("failed to save image: invalid output path: stat /nowhere"), "{told}");
    assert!(home.holm(&["system", "check"]).ok().contains(WHOLE));
}

fn a_file_system_is_imported_from_a_file_a_pipe_and_an_address(machine: Machine) {
    let (registry, home) = ready(machine).unwrap();
    let layer = &busybox().unwrap().layers[0];
    let file = home.path().join("root.tar.gz");
    fs::write(&file, &layer.bytes).unwrap();
    let path = file.to_str().unwrap();
    let changes = ["-c", "CMD [\"echo\", \"hi\"]", "-c", "ENV A=b", "-m", "mine"];
    let id = home.holm(&[&["import"], &changes[..], &[path, "mine:1"]].concat()).line();
    assert!(id.starts_with("sha256:"), "{id}");
    assert_eq!(home.holm(&["run", "--rm", "mine:1"]).ok(), "hi\n");
    assert_eq!(
        home.holm(&["inspect", "-f", "{{.Id}} {{.Config.Env}} {{.Comment}}", "mine:1"]).line(),
        format!("{id} [A=b] mine")
    );

    let mut tar = Vec::new();
    flate2::read::MultiGzDecoder::new(layer.bytes.as_slice()).read_to_end(&mut tar).unwrap();
    home.holm_with_input(&["import", "-", "piped"], &tar).line();
    let address = format!("{}/v2/library/busybox/blobs/{}", registry.url(), layer.digest());
    let told = home.docker(&["import", &address, "fetched:2"]).ok();
    assert!(told.contains(&format!("Downloading from {address}")), "{told}");
    for name in ["piped:latest", "fetched:2"] {
        assert_eq!(home.holm(&["run", "--rm", name, "echo", "there"]).ok(), "there\n");
    }

    let told =
        home.holm_with_input(&["import", "-"], b"nonsense of five hundred letters".repeat(16).as_slice());
    assert!(told.fails_with(1).contains("archive/tar: invalid tar header"));
    let told = home.holm(&["import", "-c", "FROM x", path]).fails_with(1);
    assert!(told.contains("FROM is not a valid change command"), "{told}");
    let told = home.holm(&["import", &format!("{}/v2/nothing/here", registry.url())]).fails_with(1);
    assert!(told.contains("failed to GET") && told.contains("404"), "{told}");
    assert!(home.holm(&["system", "check"]).ok().contains(WHOLE));
}
