//! What a pull brings: all tags of a repository, images of other processors, and nothing where it is called off.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use holm_tests::faulty::{Answer, FaultyRegistry};
use holm_tests::home::{Home, Machine};
use holm_tests::image::{Image, Layer};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

on_every_machine!(
    all_tags_of_a_repository_are_pulled,
    an_image_of_another_processor_is_stored_and_says_what_it_lacks,
    a_pull_that_is_called_off_leaves_nothing,
);

fn image(name: &str) -> Image {
    Image::new(vec![Layer::default().file(name, 0o644, name.as_bytes())], json!({})).unwrap()
}

fn all_tags_of_a_repository_are_pulled(machine: Machine) {
    let (registry, home) = ready(machine).unwrap();
    for tag in ["1", "2", "latest"] {
        registry.push("team/app", tag, &image(tag)).unwrap();
    }
    let name = format!("{}/team/app", registry.host());
    let told = home.holm(&["pull", "-a", &name]).ok();
    assert!(told.contains(&format!("Status: Downloaded newer image for {name}\n")), "{told}");
    let tags = || {
        let list = home.holm(&["images", "--format", "{{.Tag}}", &name]).ok();
        let mut tags: Vec<String> = list.lines().map(str::to_owned).collect();
        tags.sort_unstable();
        tags
    };
    assert_eq!(tags(), ["1", "2", "latest"]);
    home.holm(&["rmi", &format!("{name}:2")]).ok();
    home.docker(&["pull", "-a", &name]).ok();
    assert_eq!(tags(), ["1", "2", "latest"]);
    let told = home.holm(&["pull", "-a", &name]).ok();
    assert!(told.contains(&format!("Status: Image is up to date for {name}\n")), "{told}");
    let told = home.holm(&["pull", "-a", &format!("{name}:1")]).fails_with(1);
    assert!(told.contains("tag can't be used with --all-tags/-a"), "{told}");
}

/// The head of a program for 64-bit ARM, which no other kernel takes for anything.
fn arm_program() -> Vec<u8> {
    let mut head = vec![0; 120];
    head[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    head[16] = 2;
    head[18] = 0xb7;
    head[20] = 1;
    head
}

fn an_image_of_another_processor_is_stored_and_says_what_it_lacks(machine: Machine) {
    let (registry, home) = ready(machine).unwrap();
    let layer = || Layer::default().folder("bin/").file("bin/true", 0o755, &arm_program());
    let config = json!({ "Cmd": ["/bin/true"] });
    let arm = Image::for_architecture("arm64", vec![layer()], config.clone()).unwrap();
    let ours = Image::new(vec![layer()], config).unwrap();
    registry.push_index("library/both", "latest", &[ours, arm]).unwrap();
    home.holm(&["pull", "-q", "both"]).ok();
    home.holm(&["tag", "both", "ours"]).ok();
    home.holm(&["pull", "-q", "--platform", "linux/arm64", "both"]).ok();
    let architecture = |name: &str| home.holm(&["inspect", "-f", "{{.Architecture}}", name]).line();
    assert_eq!((architecture("ours"), architecture("both")), ("amd64".to_owned(), "arm64".to_owned()));
    assert!(home.holm(&["system", "check"]).ok().contains("2 images"));

    let told = home.holm(&["run", "--rm", "both"]).fails_with(255);
    assert!(told.contains("requested image's platform (linux/arm64) does not match"), "{told}");
    assert!(told.contains("no emulator for linux/arm64") && told.contains("exec format error"), "{told}");
    let told = home.docker(&["run", "--rm", "--platform", "linux/arm64", "both"]).fails_with(255);
    assert!(told.contains("no emulator for linux/arm64") && !told.contains("does not match"), "{told}");
}

fn a_pull_that_is_called_off_leaves_nothing(machine: Machine) {
    let registry = FaultyRegistry::start().unwrap();
    let home = Home::new(machine, &[]).unwrap();
    let layer = |name: &str| Layer::default().file(name, 0o644, &name.as_bytes().repeat(1000));
    let image = Image::new(vec![layer("came"), layer("stalls")], json!({})).unwrap();
    registry.manifest("slow", &image.manifest);
    registry.blob("slow", &image.config.digest(), &[Answer::Blob(image.config.clone())]);
    let [came, stalls] = &image.layers[..] else { panic!("two layers") };
    registry.blob("slow", &came.digest(), &[Answer::Blob(came.clone())]);
    registry.blob("slow", &stalls.digest(), &[Answer::StallAfter(stalls.clone(), 10)]);
    let name = format!("{}/slow", registry.host());

    let mut pull = home.command(&["pull", &name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(pull.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Pull complete")), "the first layer did not come");
    kill_process(Pid::from_child(&pull), Signal::INT).unwrap();
    assert!(!pull.wait().unwrap().success());

    assert_eq!(home.holm(&["images", "-aq"]).ok(), "");
    // The engine hears of it when the connection ends, and cleans up then.
    let begun = Instant::now();
    loop {
        let told = home.holm(&["system", "check"]);
        if told.stdout.starts_with("0 images, 0 names, 0 blobs of 0B, 0 layers") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "something was left over: {told}");
    }
    registry.blob("slow", &stalls.digest(), &[Answer::Blob(stalls.clone())]);
    home.holm(&["pull", "-q", &name]).ok();
    assert!(home.holm(&["system", "check"]).ok().contains("All of it is whole."));
}
