//! What is cleared away at once, and what is spared.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::{Value, json};

on_every_machine!(containers_at_rest_are_pruned_by_age_and_label);

fn prune(home: &Home, filters: &Value) -> (u16, Value) {
    let filters: String = filters.to_string().bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/containers/prune?filters={filters}");
    let request = Request { method: "POST", host: "docker", path: &path, content_type: None, body: b"" };
    let response = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap();
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

fn containers_at_rest_are_pruned_by_age_and_label(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    home.holm(&["run", "-d", "--name", "runs", "busybox", "sleep", "1000"]).ok();
    let red = home.holm(&["create", "--name", "red", "--label", "team=red", "busybox"]).line();
    let blue = home.holm(&["create", "--name", "blue", "--label", "team=blue", "busybox"]).line();
    home.holm(&["run", "--name", "wrote", "busybox", "sh", "-c", "head -c 100000 /dev/zero > /x"]).ok();

    let (status, refused) = prune(&home, &json!({ "colour": ["red"] }));
    assert_eq!((status, refused["message"].as_str()), (400, Some("invalid filter 'colour'")));
    let (status, _) = prune(&home, &json!({ "until": ["soon"] }));
    assert_eq!(status, 400);

    let (_, none) = prune(&home, &json!({ "until": ["24h"] }));
    assert_eq!(none, json!({ "ContainersDeleted": null, "SpaceReclaimed": 0 }));
    let (_, one) = prune(&home, &json!({ "label": ["team=red"] }));
    assert_eq!(one["ContainersDeleted"], json!([red]));
    let (_, other) = prune(&home, &json!({ "label!": ["team=blue"] }));
    assert_eq!(other["ContainersDeleted"].as_array().unwrap().len(), 1);
    assert!(other["SpaceReclaimed"].as_u64().unwrap() >= 100_000, "{other}");
    let (_, last) = prune(&home, &json!({}));
    assert_eq!(last["ContainersDeleted"], json!([blue]));
    assert_eq!(home.holm(&["ps", "-a", "--format", "{{.Names}}"]).line(), "runs");
}
