//! The transcript that the documents of this field print, word for word.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::{Home, Machine, programs};
use holm_tests::on_every_machine;
use holm_tests::registry::Registry;
use holm_tests::samples;
use holm_tests::terminal::run_on_terminal;

const MESSAGE: &str = include_str!("../src/bin/hello.txt");

on_every_machine!(
    the_first_run_pulls_and_the_second_does_not,
    a_terminal_shows_the_transcript,
    versions_are_told_in_three_blocks,
);

/// A registry with `hello-world`, a home that asks it, and the first 12 digits of the layer and the whole digest.
fn hello_world(machine: Machine) -> (Registry, Home, String, String) {
    let registry = Registry::start().unwrap();
    let image = samples::hello_world(&programs().join("hello")).unwrap();
    let layer = image.layers[0].digest()["sha256:".len()..][..12].to_owned();
    let images = samples::for_two_platforms(image).unwrap();
    let digest = registry.push_index("library/hello-world", "latest", &images).unwrap();
    let home = Home::new(machine, &[registry.url()]).unwrap();
    (registry, home, layer, digest)
}

fn the_first_run_pulls_and_the_second_does_not(machine: Machine) {
    let (_registry, home, layer, digest) = hello_world(machine);

    let first = home.holm(&["run", "hello-world"]);
    assert_eq!((first.status, first.stdout.as_str()), (0, MESSAGE), "{first}");
    let told: Vec<&str> = first.stderr.lines().collect();
    assert_eq!(told[0], "Unable to find image 'hello-world:latest' locally");
    assert_eq!(told[1], "latest: Pulling from library/hello-world");
    assert!(told.contains(&format!("{layer}: Pull complete").as_str()), "{first}");
    let end =
        [format!("Digest: {digest}"), "Status: Downloaded newer image for hello-world:latest".to_owned()];
    assert_eq!(told[told.len() - 2..], end);

    let second = home.holm(&["run", "hello-world"]);
    assert_eq!((second.status, second.stdout.as_str(), second.stderr.as_str()), (0, MESSAGE, ""));

    // Both stay, with names made of two words, until they are removed.
    let listed = home.holm(&["ps", "-a", "--format", "{{.Image}}|{{.Command}}|{{.Status}}|{{.Names}}"]).ok();
    let rows: Vec<Vec<&str>> = listed.lines().map(|row| row.split('|').collect()).collect();
    assert_eq!(rows.len(), 2, "{listed}");
    for row in &rows {
        assert_eq!(row[..2], ["hello-world", "\"/hello\""], "{listed}");
        assert!(row[2].starts_with("Exited (0) ") && row[2].ends_with(" ago"), "{listed}");
        assert!(row[3].split('_').filter(|word| !word.is_empty()).count() == 2, "{listed}");
        assert_eq!(home.holm(&["rm", row[3]]).line(), row[3]);
    }
    assert_eq!(home.holm(&["ps", "-aq"]).ok(), "");
}

fn a_terminal_shows_the_transcript(machine: Machine) {
    let (_registry, home, layer, digest) = hello_world(machine);
    let ran = run_on_terminal(&home.command(&["run", "hello-world"]));
    let expected = format!(
        "Unable to find image 'hello-world:latest' locally\n\
         latest: Pulling from library/hello-world\n\
         {layer}: Pull complete\n\
         Digest: {digest}\n\
         Status: Downloaded newer image for hello-world:latest\n\
         {MESSAGE}"
    );
    assert_eq!((ran.status, ran.stdout), (0, expected));
}

fn versions_are_told_in_three_blocks(machine: Machine) {
    let (_registry, home, _, _) = hello_world(machine);
    home.holm(&["machine", "start"]).ok();
    let text = home.holm(&["version"]).ok();
    let blocks: Vec<&str> =
        text.lines().filter(|line| !line.starts_with(' ') && line.contains(':')).collect();
    let names: Vec<&str> = blocks.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(names, ["Client", "Server", "Machine"], "{text}");
    let (_, server) = text.split_once("\nServer:").unwrap();
    let platform = server.lines().find(|line| line.trim_start().starts_with("OS/Arch:")).unwrap();
    assert!(platform.ends_with("linux/amd64"), "{text}");
    assert!(text.contains(machine.name()), "{text}");
}
