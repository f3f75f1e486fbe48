//! Images go to real registries as they came, by our own client and by Docker's.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::image;
use holm_tests::on_every_machine;
use holm_tests::registry::Registry;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(an_image_goes_to_a_registry_and_comes_back_the_same);

/// `1: digest: sha256:… size: 7`, the last line of a push.
fn told_digest(told: &str, tag: &str) -> String {
    let line = told.lines().find_map(|line| line.strip_prefix(&format!("{tag}: digest: "))).unwrap();
    line.split(' ').next().unwrap().to_owned()
}

fn an_image_goes_to_a_registry_and_comes_back_the_same(machine: Machine) {
    let (source, home) = ready(machine).unwrap();
    let target = Registry::start().unwrap();
    let host = target.host();
    home.holm(&["pull", "busybox"]).ok();
    let team = format!("{host}/team/app:1");
    home.holm(&["tag", "busybox", &team]).ok();

    let told = home.holm(&["push", &team]).ok();
    assert!(told.starts_with(&format!("The push refers to repository [{host}/team/app]\n")), "{told}");
    assert!(told.contains(": Preparing\n") && told.contains(": Pushed\n"), "{told}");
    let digest = told_digest(&told, "1");
    let manifest = target.manifest("team/app", "1").unwrap();
    assert_eq!(image::digest(&manifest), digest);
    // The same bytes that were pulled: the source has them under the same digest.
    assert_eq!(source.manifest_by_digest(&digest).unwrap(), manifest);
    let digests = home.holm(&["image", "inspect", "--format", "{{json .RepoDigests}}", &team]).ok();
    assert!(digests.contains(&format!("{host}/team/app@{digest}")), "{digests}");

    // What is there is not sent again, and what another repository has is mounted.
    assert!(home.holm(&["push", &team]).ok().contains(": Layer already exists\n"));
    let other = format!("{host}/other/app");
    home.docker(&["tag", &team, &other]).ok();
    let told = home.docker(&["push", &other]).ok();
    assert!(
        told.contains("Using default tag: latest\n") && told.contains(": Mounted from team/app\n"),
        "{told}"
    );
    assert_eq!(told_digest(&told, "latest"), digest);

    // What a container became, too.
    home.holm(&["run", "--name", "isle", "busybox", "sh", "-c", "echo moored > /harbour"]).ok();
    home.holm(&["commit", "isle", &format!("{host}/team/app:2")]).ok();
    let told = home.holm(&["push", "-a", &format!("{host}/team/app")]).ok();
    assert_eq!(told_digest(&told, "1"), digest);
    let second = format!("{host}/team/app@{}", told_digest(&told, "2"));
    home.holm(&["rm", "isle"]).ok();
    home.holm(&["rmi", "-f", &format!("{host}/team/app:2"), &second]).ok();
    home.holm(&["pull", &second]).ok();
    assert_eq!(home.holm(&["run", "--rm", &second, "cat", "/harbour"]).ok(), "moored\n");

    // And what came out of an archive.
    let archive = home.path().join("image.tar");
    let archive = archive.to_str().unwrap();
    home.holm(&["save", "-o", archive, &team]).ok();
    let elsewhere = Home::new(machine, &[]).unwrap();
    elsewhere.holm(&["load", "-q", "-i", archive]).ok();
    let loaded = format!("{host}/loaded/app:1");
    elsewhere.holm(&["tag", &team, &loaded]).ok();
    let told = elsewhere.holm(&["push", &loaded]).ok();
    let loaded = format!("{host}/loaded/app@{}", told_digest(&told, "1"));
    home.holm(&["pull", &loaded]).ok();
    assert_eq!(home.holm(&["run", "--rm", &loaded, "echo", "ashore"]).ok(), "ashore\n");

    // Quietly, and for one platform.
    let full = format!("{host}/team/app:1\n");
    assert_eq!(home.holm(&["push", "-q", &team]).ok(), full);
    let told = home.holm(&["push", "--platform", "linux/s390x", &team]).fails_with(1);
    assert!(told.contains("does not match the specified platform (linux/s390x)"), "{told}");

    // What is no image, and what is no index of anything.
    let told = home.holm(&["push", &format!("{host}/none")]).fails_with(1);
    assert!(told.contains(&format!("An image does not exist locally with the tag: {host}/none")), "{told}");
    let told = home.holm(&["search", &format!("{host}/app")]).fails_with(1);
    assert!(told.contains("Unexpected status code 404"), "{told}");

    let described = distribution(&home, &team);
    assert_eq!(described["Descriptor"]["digest"], digest.as_str());
    assert_eq!(described["Descriptor"]["size"], manifest.len());
    assert_eq!(described["Platforms"][0]["architecture"], "amd64");
    let listed = distribution(&home, "busybox");
    assert_eq!(listed["Platforms"].as_array().unwrap().len(), 2);
}

fn distribution(home: &Home, name: &str) -> Value {
    let path = format!("/v1.51/distribution/{name}/json");
    let request = Request { method: "GET", host: "holm", path: &path, content_type: None, body: b"" };
    let answer = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}
