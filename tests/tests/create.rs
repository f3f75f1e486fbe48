//! What a container may be made of, and what is refused when: some of it only when it starts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(images_are_mounted_to_be_read, refusals_come_when_dockers_do);

fn images_are_mounted_to_be_read(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    for image in ["busybox", "hello-world"] {
        home.holm(&["pull", "-q", image]).ok();
    }
    let mount = |options: &str| format!("type=image,source={options}");
    let script = "ls /image; cat /bin/busybox | cmp - /box; touch /image/x";
    let (whole, part) =
        (mount("hello-world,target=/image"), mount("busybox,target=/box,image-subpath=bin/busybox"));
    let made = home.docker(&[
        "create", "--name", "isle", "--mount", &whole, "--mount", &part, "busybox", "sh", "-c", script,
    ]);
    assert!(made.stderr.contains("Image mount is an experimental feature"), "{}", made.stderr);
    let shown = home.holm(&["inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Name}} {{.RW}};{{end}}", "isle"]);
    assert_eq!(shown.line(), "image busybox false;image hello-world false;");

    let used = home.holm(&["rmi", "hello-world"]).fails_with(1);
    assert!(used.contains("is using its referenced image") || used.contains("is being used by"), "{used}");
    // A name may go, and another image take it; the container keeps what it was made with.
    home.holm(&["rmi", "-f", "hello-world"]).ok();
    let ran = home.holm(&["start", "-a", "isle"]);
    assert_eq!((ran.status, ran.stdout.as_str()), (1, "hello\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("/image/x: Read-only file system"), "{}", ran.stderr);
    // Nor by another way.
    let settings = home.path().join("settings.toml");
    let copied = home.holm(&["cp", settings.to_str().unwrap(), "isle:/image/"]).fails_with(1);
    assert!(copied.to_lowercase().contains("read-only"), "{copied}");

    let missing = home.holm(&["run", "--rm", "--mount", &mount("nothing,target=/x"), "busybox", "true"]);
    assert!(missing.fails_with(125).contains("No such image: nothing:latest"));
    let outside = mount("busybox,target=/x,image-subpath=../etc");
    let refused = home.holm(&["create", "--mount", &outside, "busybox"]).fails_with(1);
    assert!(refused.contains("subpath must be a relative path within the volume"), "{refused}");
    let absent = mount("busybox,target=/x,image-subpath=nowhere");
    let absent = home.holm(&["run", "--rm", "--mount", &absent, "busybox", "true"]).fails_with(127);
    assert!(absent.contains("stat busybox/nowhere: no such file or directory"), "{absent}");
}

/// The status and the message of an attempt to create.
fn tried(home: &Home, host: &str) -> (u16, String) {
    let body = format!(r#"{{"Image":"busybox","Cmd":["true"],"HostConfig":{host}}}"#);
    let request = Request {
        method: "POST",
        host: "docker",
        path: "/v1.51/containers/create",
        content_type: Some("application/json"),
        body: body.as_bytes(),
    };
    let answer = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap();
    (answer.status, answer.text())
}

fn refusals_come_when_dockers_do(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    for (host, status, words) in [
        (r#"{"SecurityOpt":["nonsense"]}"#, 500, r#"invalid --security-opt 1: \"nonsense\""#),
        (r#"{"Binds":["a:b:c:d"]}"#, 500, "invalid volume specification: 'a:b:c:d'"),
        (r#"{"CapAdd":["FLY"]}"#, 400, "invalid CapAdd: unknown capability"),
        (r#"{"CpuRealtimeRuntime":100}"#, 400, "kernel does not support CPU real-time scheduler"),
        (r#"{"CgroupnsMode":"ours"}"#, 400, "invalid cgroup namespace mode: ours"),
        (r#"{"Mounts":[{"Type":"usb","Target":"/x"}]}"#, 400, "mount type unknown"),
    ] {
        let (code, text) = tried(&home, host);
        assert!(code == status && text.contains(words), "{host}: {code} {text}");
    }
    // These make a container that cannot start.
    for (flags, words) in [
        (
            ["--device", "/dev/nope"].as_slice(),
            "error gathering device information while adding custom device",
        ),
        (&["--device-cgroup-rule", "c 1:3 r"], ""),
        (
            &["--network", "host", "--sysctl", "net.ipv4.ip_forward=1"],
            "runc create failed: sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
        ),
        (&["--gpus", "all"], "could not select device driver"),
    ] {
        let id = home.holm(&[["create"].as_slice(), flags, &["busybox", "true"]].concat()).line();
        let started = home.holm(&["start", &id]);
        match words {
            "" => drop(started.ok()),
            words => {
                let said = started.fails_with(1);
                assert!(said.contains(words), "{said}");
            }
        }
    }
}
