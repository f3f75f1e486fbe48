//! Containers that stand still: what can be done with them, and what not.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(a_paused_container_stands_still_until_it_goes_on_or_ends);

/// Status and message of `POST /containers/<path>`.
fn post(home: &Home, path: &str) -> (u16, String) {
    let stream = UnixStream::connect(home.socket()).unwrap();
    let path = format!("/containers/{path}");
    let request = Request { method: "POST", host: "docker", path: &path, content_type: None, body: b"" };
    let response = exchange(stream, &request).unwrap();
    let body: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    (response.status, body["message"].as_str().unwrap_or_default().to_owned())
}

fn a_paused_container_stands_still_until_it_goes_on_or_ends(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let polite = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let id = home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", polite]).line();
    while home.holm(&["logs", "isle"]).ok() != "up\n" {}

    assert_eq!(post(&home, "isle/unpause"), (500, format!("Container {id} is not paused")));
    assert_eq!(post(&home, "isle/pause").0, 204);
    assert_eq!(post(&home, "isle/pause"), (409, format!("container {id} is already paused")));
    let state = ["inspect", "--format", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}", "isle"];
    assert_eq!(home.holm(&state).line(), "paused true true");
    let status = home.holm(&["ps", "--filter", "status=paused", "--format", "{{.Status}}"]).line();
    assert!(status.starts_with("Up ") && status.ends_with(" (Paused)"), "{status}");
    assert_eq!(
        post(&home, "isle/start"),
        (409, "cannot start a paused container, try unpause instead".to_owned())
    );
    let attached = post(&home, "isle/attach?stream=1&stdout=1");
    assert_eq!(attached, (409, "container isle is paused, unpause the container before attach".to_owned()));
    assert!(
        home.holm(&["rm", "isle"]).fails_with(1).contains("container is paused and must be unpaused first")
    );

    assert_eq!(post(&home, "isle/unpause").0, 204);
    assert_eq!(home.holm(&state).line(), "running true false");

    // A stop lets it go on, so that it can be polite; a kill needs no such thing.
    assert_eq!(post(&home, "isle/pause").0, 204);
    home.holm(&["stop", "isle"]).ok();
    assert_eq!(home.holm(&["inspect", "--format", "{{.State.ExitCode}}", "isle"]).line(), "3");
    assert_eq!(post(&home, "isle/pause"), (409, format!("container {id} is not running")));
    home.holm(&["start", "isle"]).ok();
    assert_eq!(post(&home, "isle/pause").0, 204);
    home.holm(&["kill", "isle"]).ok();
    assert_eq!(home.holm(&state).line(), "exited false false");

    let events = home.holm(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    for action in ["pause", "unpause"] {
        assert!(events.lines().any(|line| line == action), "{events}");
    }
}
