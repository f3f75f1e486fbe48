//! The real docker client tells the same story through our socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(docker_runs_lists_and_removes_as_holm_does);

fn docker_runs_lists_and_removes_as_holm_does(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();

    let first = home.docker(&["run", "hello-world"]);
    assert!(first.stderr.contains("Status: Downloaded newer image for hello-world:latest"), "{first}");
    assert_eq!(first.ok(), include_str!("../src/bin/hello.txt"));
    home.docker(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).fails_with(7);
    home.docker(&["run", "-d", "--name", "isle", "busybox", "sleep", "1000"]).ok();
    assert_eq!(home.docker(&["logs", "isle"]).ok(), "");

    // Both clients show the same, column by column.
    let format = "{{.ID}} {{.Image}} {{.Command}} {{.Names}} {{.State}} {{.Labels}} {{.Ports}}";
    for arguments in [
        ["ps", "-a", "--no-trunc", "--format", format].as_slice(),
        &["images", "--digests", "--no-trunc"],
        &["history", "--no-trunc", "busybox"],
        &["inspect", "isle"],
        &["inspect", "busybox"],
        &["ps", "--filter", "status=running", "-q"],
    ] {
        assert_eq!(home.docker(arguments).ok(), home.holm(arguments).ok());
    }
    assert_eq!(
        home.docker(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]).line(),
        "linux/amd64"
    );
    assert_eq!(home.docker(&["info", "--format", "{{.ContainersRunning}} {{.Images}}"]).line(), "1 2");
    assert_eq!(home.docker(&["rm", "-f", "isle"]).line(), "isle");
    assert_eq!(home.docker(&["ps", "-q"]).ok(), "");
}
