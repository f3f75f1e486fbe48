//! Registries that lie, break off and fall silent: a clear error, nothing half stored, and the next pull works.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::faulty::{Answer, FaultyRegistry};
use holm_tests::home::{Home, Machine};
use holm_tests::image::{Blob, Image, Layer, manifest, media_type};
use holm_tests::on_every_machine;
use serde_json::json;

on_every_machine!(
    what_does_not_fit_its_digest_is_refused,
    a_connection_that_breaks_is_taken_up_again,
    layers_that_climb_out_touch_nothing,
);

fn image() -> Image {
    // Does not compress, so that there is a middle to break off at.
    let noise: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let layer = Layer::default().file("noise", 0o644, &noise);
    Image::new(vec![layer], json!({ "Cmd": ["/noise"] })).unwrap()
}

/// Serves `image` with another answer for its layer.
fn serve(registry: &FaultyRegistry, repository: &str, image: &Image, layer: &[Answer]) {
    registry.manifest(repository, &image.manifest);
    registry.blob(repository, &image.config.digest(), &[Answer::Blob(image.config.clone())]);
    registry.blob(repository, &image.layers[0].digest(), layer);
}

#[track_caller]
fn pull_fails(home: &Home, reference: &str) -> String {
    let error = home.holm(&["pull", reference]).fails_with(1);
    assert!(!error.trim().is_empty(), "it failed without a word");
    assert_eq!(home.holm(&["images", "-aq"]).ok(), "", "something was stored after: {error}");
    error
}

fn what_does_not_fit_its_digest_is_refused(machine: Machine) {
    let registry = FaultyRegistry::start().unwrap();
    let home = Home::new(machine, &[]).unwrap();
    let image = image();
    let host = registry.host();
    let good = image.layers[0].clone();

    let mut wrong = good.clone();
    *wrong.bytes.last_mut().unwrap() ^= 1;
    serve(&registry, "wrong", &image, &[Answer::Blob(wrong)]);
    pull_fails(&home, &format!("{host}/wrong"));

    let mut longer = good.clone();
    longer.bytes.extend_from_slice(&[0; 4096]);
    serve(&registry, "longer", &image, &[Answer::Blob(longer)]);
    pull_fails(&home, &format!("{host}/longer"));

    let page = Blob {
        media_type: media_type::MANIFEST,
        bytes: b"<html>a portal that wants a login</html>".to_vec(),
    };
    registry.manifest("portal", &page);
    pull_fails(&home, &format!("{host}/portal"));

    serve(&registry, "good", &image, &[Answer::Blob(good)]);
    home.holm(&["pull", &format!("{host}/good")]).ok();
}

fn a_connection_that_breaks_is_taken_up_again(machine: Machine) {
    let registry = FaultyRegistry::start().unwrap();
    let home = Home::new(machine, &[]).unwrap();
    let image = image();
    let host = registry.host();
    let layer = image.layers[0].clone();

    // Once is no reason to fail.
    let answers = [Answer::CutAfter(layer.clone(), 100_000), Answer::Blob(layer.clone())];
    serve(&registry, "hiccup", &image, &answers);
    home.holm(&["pull", &format!("{host}/hiccup")]).ok();
    home.holm(&["rmi", &format!("{host}/hiccup")]).ok();

    // Always is.
    serve(&registry, "broken", &image, &[Answer::CutAfter(layer.clone(), 100_000)]);
    pull_fails(&home, &format!("{host}/broken"));
    serve(&registry, "silent", &image, &[Answer::StallAfter(layer, 100_000)]);
    pull_fails(&home, &format!("{host}/silent"));
}

fn layers_that_climb_out_touch_nothing(machine: Machine) {
    let registry = FaultyRegistry::start().unwrap();
    let home = Home::new(machine, &[]).unwrap();
    let host = registry.host();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("escaped");
    let absolute = target.to_str().unwrap();
    let climbing = format!("{}{absolute}", "../".repeat(12));
    let through_link =
        |target: &str| Layer::default().symlink("link", target).file("link/escaped", 0o644, b"x");
    let layers = [
        ("climbing", Layer::default().file(&climbing, 0o644, b"x")),
        ("through-link", through_link(outside.path().to_str().unwrap())),
        ("hard-link", Layer::default().hard_link("passwd", &format!("{}/etc/passwd", "../".repeat(12)))),
    ];
    for (name, layer) in layers {
        let image = Image::new(vec![layer], json!({ "Cmd": ["/x"] })).unwrap();
        serve(&registry, name, &image, &[Answer::Blob(image.layers[0].clone())]);
        // Refused, or unpacked inside the layer: both keep what is outside untouched.
        let ran = home.holm(&["pull", &format!("{host}/{name}")]);
        assert!(ran.status == 0 || !ran.stderr.trim().is_empty(), "{ran}");
        assert!(!target.exists(), "{name} wrote to {absolute}");
    }
    let no_such_layer = Blob { media_type: media_type::LAYER, bytes: b"never sent".to_vec() };
    let image = image();
    registry.manifest("missing", &manifest(&image.config, &[no_such_layer]).unwrap());
    registry.blob("missing", &image.config.digest(), &[Answer::Blob(image.config.clone())]);
    let error = home.holm(&["pull", &format!("{host}/missing")]).fails_with(1);
    assert!(!error.trim().is_empty());
}
