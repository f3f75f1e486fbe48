//! Further processes of a container, as users of `docker exec` and of client libraries run them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use holm_tests::terminal::run_on_terminal;
use serde_json::{Value, json};

on_every_machine!(
    docker_exec_runs_what_it_is_told,
    an_exec_is_known_until_after_its_end,
    bytes_go_both_ways_with_upgrade_and_without,
);

fn container(home: &Home, name: &str) {
    home.holm(&["run", "-d", "--name", name, "-e", "OWN=1", "-w", "/home", "busybox", "sleep", "1000"]).ok();
}

fn docker_exec_runs_what_it_is_told(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    container(&home, "isle");
    home.docker(&["exec", "isle", "true"]).ok();
    home.docker(&["exec", "isle", "sh", "-c", "exit 7"]).fails_with(7);
    let script = "echo $OWN $MORE $PATH; pwd; id -un; echo err >&2";
    let told = home.docker(&["exec", "-e", "MORE=2", "-w", "/tmp", "-u", "user", "isle", "sh", "-c", script]);
    assert_eq!(told.stderr, "err\n");
    assert_eq!(told.ok(), "1 2 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n/tmp\nuser\n");
    assert_eq!(home.docker(&["exec", "isle", "pwd"]).line(), "/home");
    assert_eq!(home.docker(&["exec", "-u", "0:staff", "isle", "id", "-g"]).line(), "50");
    assert_eq!(home.docker(&["exec", "-d", "isle", "touch", "/tmp/made"]).ok(), "");
    home.docker(&["exec", "isle", "sh", "-c", "until [ -e /tmp/made ]; do :; done"]).ok();

    let missing = home.docker(&["exec", "isle", "nope"]).fails_with(127);
    let words = "OCI runtime exec failed: exec failed: unable to start container process: \
                 exec: \"nope\": executable file not found in $PATH: unknown";
    assert!(
        missing.contains(words) || home.docker(&["exec", "isle", "nope"]).stdout.contains(words),
        "{missing}"
    );
    home.docker(&["exec", "isle", "/etc/passwd"]).fails_with(126);
    let refused = home.docker(&["exec", "-u", "nobody", "isle", "true"]).fails_with(1);
    assert!(refused.contains("unable to find user nobody: no matching entries in passwd file"), "{refused}");

    // A privileged process may do what the container may not.
    home.docker(&["exec", "isle", "mount", "-t", "tmpfs", "none", "/tmp"]).fails_with(1);
    let all = "[ $(grep CapEff /proc/self/status | cut -f2) != $(grep CapEff /proc/1/status | cut -f2) ]";
    home.docker(&["exec", "--privileged", "isle", "sh", "-c", all]).ok();

    let mut on_terminal = std::process::Command::new("docker");
    on_terminal.args(["exec", "-it", "isle", "sh", "-c", "stty size; tty; exit 5"]);
    on_terminal.env("DOCKER_HOST", home.docker_host()).env("HOME", home.path());
    let told = run_on_terminal(&on_terminal);
    assert_eq!(told.status, 5, "{told}");
    assert!(told.stdout.contains("/dev/pts/0"), "{told}");
    assert!(!told.stdout.contains("0 0"), "it has a size from the first moment: {told}");

    home.docker(&["stop", "-t", "0", "isle"]).ok();
    let stopped = home.docker(&["exec", "isle", "true"]).fails_with(1);
    assert!(stopped.contains("is not running"), "{stopped}");
}

fn ask(home: &Home, method: &str, path: &str, body: Value) -> (u16, Value) {
    let stream = UnixStream::connect(home.socket()).unwrap();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let content_type = (!body.is_empty()).then_some("application/json");
    let request = Request { method, host: "docker", path, content_type, body: &body };
    let response = exchange(stream, &request).unwrap();
    (response.status, serde_json::from_slice(&response.body).unwrap_or(Value::Null))
}

fn create(home: &Home, container: &str, body: Value) -> String {
    let (status, made) = ask(home, "POST", &format!("/v1.44/containers/{container}/exec"), body);
    assert_eq!(status, 201, "{made}");
    made["Id"].as_str().unwrap().to_owned()
}

fn an_exec_is_known_until_after_its_end(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    container(&home, "isle");
    let id = create(&home, "isle", json!({ "Cmd": ["sh", "-c", "exit 3"], "User": "user" }));
    assert_eq!(ask(&home, "GET", "/containers/isle/json", Value::Null).1["ExecIDs"], json!([id]));
    let (_, before) = ask(&home, "GET", &format!("/exec/{id}/json"), Value::Null);
    assert_eq!(
        (&before["Running"], &before["ExitCode"], &before["Pid"]),
        (&json!(false), &Value::Null, &json!(0))
    );
    assert_eq!(
        before["ProcessConfig"],
        json!({ "tty": false, "entrypoint": "sh", "arguments": ["-c", "exit 3"], "privileged": false, "user": "user" })
    );
    let start = format!("/exec/{id}/start");
    assert_eq!(ask(&home, "POST", &start, json!({ "Detach": true })).0, 200);
    let mut after = before;
    while after["ExitCode"].is_null() {
        after = ask(&home, "GET", &format!("/exec/{id}/json"), Value::Null).1;
    }
    assert_eq!((&after["Running"], &after["ExitCode"]), (&json!(false), &json!(3)));
    assert!(after["Pid"].as_i64().unwrap() > 1, "{after}");
    assert_eq!(ask(&home, "GET", "/containers/isle/json", Value::Null).1["ExecIDs"], Value::Null);

    let refusals = [
        ("POST", start.clone(), json!({}), 409, format!("exec command {id} has already run")),
        ("POST", "/exec/nope/start".to_owned(), json!({}), 404, "No such exec instance: nope".to_owned()),
        ("GET", "/exec/nope/json".to_owned(), Value::Null, 404, "No such exec instance: nope".to_owned()),
        ("POST", "/containers/isle/exec".to_owned(), json!({}), 400, "No exec command specified".to_owned()),
        (
            "POST",
            "/containers/nope/exec".to_owned(),
            json!({ "Cmd": ["x"] }),
            404,
            "No such container: nope".to_owned(),
        ),
    ];
    for (method, path, body, status, words) in refusals {
        assert_eq!(ask(&home, method, &path, body), (status, json!({ "message": words })), "{path}");
    }

    let events = home.docker(&[
        "events",
        "--since",
        "1h",
        "--until",
        "-2s",
        "--format",
        "{{.Action}}",
        "--filter",
        "container=isle",
    ]);
    let events = events.ok();
    let told: Vec<_> = events.lines().filter(|line| line.starts_with("exec_")).collect();
    assert_eq!(told, ["exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die"]);

    home.holm(&["rm", "-f", "isle"]).ok();
    assert_eq!(ask(&home, "GET", &format!("/exec/{id}/json"), Value::Null).0, 404);
}

/// Sends a request's head and body, then raw bytes, and reads to the end.
fn raw(home: &Home, path: &str, headers: &str, body: &str, input: &[u8]) -> (String, Vec<u8>) {
    let mut stream = UnixStream::connect(home.socket()).unwrap();
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len())
    };
    // In one piece: what follows the head may come with it.
    let head = format!("POST {path} HTTP/1.1\r\nHost: docker\r\n{headers}{length}\r\n{body}");
    stream.write_all(&[head.as_bytes(), input].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    let end = all.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let rest = all.split_off(end);
    (String::from_utf8(all).unwrap(), rest)
}

fn bytes_go_both_ways_with_upgrade_and_without(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    container(&home, "isle");
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let all = json!({ "Cmd": ["cat"], "AttachStdin": true, "AttachStdout": true, "AttachStderr": true });
    for (headers, status, kind) in [
        (upgrade, "HTTP/1.1 101 UPGRADED\r\n", "Content-Type: application/vnd.docker.multiplexed-stream\r\n"),
        ("", "HTTP/1.1 200 OK\r\n", "Content-Type: application/vnd.docker.raw-stream\r\n"),
    ] {
        let id = create(&home, "isle", all.clone());
        let (head, bytes) = raw(&home, &format!("/v1.44/exec/{id}/start"), headers, "{}", b"hello");
        assert!(head.starts_with(status) && head.contains(kind), "{head}");
        assert_eq!(bytes, b"\x01\0\0\0\0\0\0\x05hello");

        let made = home.holm(&["create", "-i", "busybox", "sh", "-c", "cat; echo end >&2"]).line();
        let attach = format!("/v1.44/containers/{made}/attach?stream=1&stdin=1&stdout=1&stderr=1");
        let reader = std::thread::scope(|scope| {
            let reader = scope.spawn(|| raw(&home, &attach, headers, "", b"hello"));
            // A start that came first would find nobody: the container waits for its input, so nothing is lost.
            home.holm(&["start", &made]).ok();
            reader.join().unwrap()
        });
        assert!(reader.0.starts_with(status) && reader.0.contains(kind), "{}", reader.0);
        let mut told = reader.1;
        let error = told.windows(8).position(|bytes| bytes[0] == 2 && bytes[7] == 4).unwrap();
        assert_eq!(told.split_off(error), b"\x02\0\0\0\0\0\0\x04end\n");
        assert_eq!(told, b"\x01\0\0\0\0\0\0\x05hello");
    }
}
