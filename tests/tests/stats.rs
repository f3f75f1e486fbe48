//! What a container uses, as clients measure it: once, twice, and as long as they like.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(a_busy_container_is_measured);

fn get(home: &Home, path: &str) -> (u16, Value) {
    let stream = UnixStream::connect(home.socket()).unwrap();
    let request = Request { method: "GET", host: "docker", path, content_type: None, body: b"" };
    let response = exchange(stream, &request).unwrap();
    (response.status, serde_json::from_slice(&response.body).unwrap())
}

fn a_busy_container_is_measured(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let id = home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", "while :; do :; done"]).line();

    let (status, once) = get(&home, "/containers/isle/stats?stream=0&one-shot=1");
    assert_eq!((status, once["id"].as_str(), once["name"].as_str()), (200, Some(id.as_str()), Some("/isle")));
    assert_eq!(once["preread"], "0001-01-01T00:00:00Z");
    assert_eq!(once["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert_eq!(once["networks"]["eth0"]["rx_errors"], 0, "{once}");

    // Two samples, so that a rate can be told.
    let (_, twice) = get(&home, "/containers/isle/stats?stream=false");
    let nanos = |which: &str| twice[which]["cpu_usage"]["total_usage"].as_u64().unwrap();
    assert!(nanos("cpu_stats") > nanos("precpu_stats") && nanos("precpu_stats") > 0, "{twice}");
    assert!(
        twice["cpu_stats"]["system_cpu_usage"].as_u64() > twice["precpu_stats"]["system_cpu_usage"].as_u64()
    );
    assert!(twice["cpu_stats"]["online_cpus"].as_u64().unwrap() > 0);
    if machine == Machine::Qemu {
        assert!(twice["memory_stats"]["usage"].as_u64().unwrap() > 0, "{twice}");
        assert!(twice["memory_stats"]["stats"]["anon"].as_u64().unwrap() > 0, "{twice}");
        assert_eq!(twice["pids_stats"]["current"], 1, "{twice}");
    }

    // On and on, over its end, until it is gone.
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    stream.write_all(b"GET /containers/isle/stats HTTP/1.0\r\nHost: docker\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut next = || -> Option<Value> {
        lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with('{'))
            .map(|line| serde_json::from_str(&line).unwrap())
    };
    assert_eq!(next().unwrap()["precpu_stats"]["cpu_usage"]["total_usage"], 0);
    assert!(next().unwrap()["precpu_stats"]["cpu_usage"]["total_usage"].as_u64() > Some(0));
    home.holm(&["kill", "isle"]).ok();
    while next().unwrap()["read"] != "0001-01-01T00:00:00Z" {}
    let (_, rests) = get(&home, "/containers/isle/stats?stream=0");
    assert_eq!((rests["memory_stats"].to_string(), rests.get("networks")), ("{}".to_owned(), None));
    home.holm(&["rm", "isle"]).ok();
    while next().is_some() {}
    assert_eq!(get(&home, "/containers/isle/stats").0, 404);
}
