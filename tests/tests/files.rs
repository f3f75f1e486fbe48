//! Files of containers: copied in and out, exported, compared, committed; and what fills the disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::Path;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::on_every_machine;
use holm_tests::registry::Registry;
use holm_tests::samples::ready;
use serde_json::Value;

on_every_machine!(
    files_are_copied_into_and_out_of_containers_in_every_state,
    no_link_leads_a_copy_out_of_its_container,
    what_cannot_be_copied_is_refused,
    changes_are_told_exported_and_committed,
    unused_images_are_pruned_and_the_disk_is_measured,
);

fn started(machine: Machine) -> (Registry, Home) {
    let (registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "busybox"]).ok();
    (registry, home)
}

fn call(home: &Home, method: &str, path: &str, body: &[u8]) -> Response {
    let request = Request { method, host: "docker", path, content_type: Some("application/x-tar"), body };
    exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap()
}

fn said(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["message"].as_str().unwrap().to_owned()
}

/// Names and contents of a tar.
fn members(bytes: &[u8]) -> Vec<(String, String)> {
    let mut archive = tar::Archive::new(bytes);
    let member = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (name, String::from_utf8_lossy(&content).into_owned())
    };
    archive.entries().unwrap().map(member).collect()
}

fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn text(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

fn files_are_copied_into_and_out_of_containers_in_every_state(machine: Machine) {
    let (_registry, home) = started(machine);
    let folder = tempfile::tempdir().unwrap();
    let here = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(folder.path().join("tree")).unwrap();
    fs::write(folder.path().join("tree/file"), "text").unwrap();
    symlink("file", folder.path().join("tree/link")).unwrap();

    let script = "cat /in/tree/file > /out; sleep 1000";
    let made = ["create", "--name", "isle", "-v", "db:/in", "busybox", "sh", "-c", script];
    home.docker(&made).ok();
    let copied_back = |state: &str| {
        let to = here(&format!("back-{state}"));
        home.docker(&["cp", "isle:/in/tree", &to]).ok();
        assert_eq!(text(Path::new(&to), "file"), "text", "{state}");
        assert_eq!(fs::read_link(Path::new(&to).join("link")).unwrap(), Path::new("file"), "{state}");
    };
    // Into the volume of a container that was only made, which keeps it for the program.
    home.docker(&["cp", &here("tree"), "isle:/in/"]).ok();
    copied_back("created");
    home.docker(&["start", "isle"]).ok();
    copied_back("running");
    home.docker(&["exec", "isle", "sh", "-c", "until test -s /out; do :; done"]).ok();
    home.docker(&["cp", "isle:/out", &here("out")]).ok();
    assert_eq!(text(folder.path(), "out"), "text");
    // What comes in is there at once, and whose it was.
    home.docker(&["cp", &here("out"), "isle:/tmp/new"]).ok();
    assert_eq!(home.docker(&["exec", "isle", "cat", "/tmp/new"]).line(), "text");
    home.docker(&["kill", "isle"]).ok();
    copied_back("exited");

    // By plain HTTP: what a path is, and a folder by its name or by what is in it.
    let stat = call(&home, "HEAD", "/containers/isle/archive?path=/in/tree/link", b"");
    assert!(stat.header("x-docker-container-path-stat").is_some() && stat.status == 200, "{stat:?}");
    let named: Vec<_> =
        members(&call(&home, "GET", "/containers/isle/archive?path=/tmp", b"").body).into_iter().collect();
    assert!(
        named.contains(&("tmp/".into(), "".into())) && named.contains(&("tmp/new".into(), "text".into()))
    );
    let inner = members(&call(&home, "GET", "/containers/isle/archive?path=/tmp/.", b"").body);
    assert!(inner.contains(&("./new".into(), "text".into())), "{inner:?}");
    let put = archive(&[("owned", b"x")]);
    assert_eq!(call(&home, "PUT", "/containers/isle/archive?path=/tmp", &put).status, 200);
    home.docker(&["commit", "isle", "kept"]).ok();
    let seen = home.docker(&["run", "--rm", "kept", "stat", "-c", "%u:%g %a", "/tmp/owned"]);
    assert_eq!(seen.line(), "7:8 640");
}

fn no_link_leads_a_copy_out_of_its_container(machine: Machine) {
    let (_registry, home) = started(machine);
    let traps = "ln -s / /root/all; ln -s ../../../../../../../.. /root/up; ln -s /proc/1/root /root/magic; \
                 ln -s /run /root/run; sleep 1000";
    home.docker(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", traps]).ok();
    home.docker(&["exec", "isle", "sh", "-c", "until test -L /root/run; do :; done; echo mine > /marker"])
        .ok();
    for state in ["running", "exited"] {
        for path in ["/root/all/marker", "/root/up/marker", "/../../marker"] {
            let got = call(&home, "GET", &format!("/containers/isle/archive?path={path}"), b"");
            assert_eq!(members(&got.body), [("marker".into(), "mine\n".into())], "{state} {path}");
        }
        let magic = call(&home, "GET", "/containers/isle/archive?path=/root/magic/marker", b"");
        assert_eq!(magic.status, 404, "{state}");
        // Members that climb, and members below links, stay in the container as well.
        let climbing = archive(&[("inner", b"x")]);
        let mut climbing_up = climbing.clone();
        climbing_up[..8].copy_from_slice(b"../../in");
        let sum: u32 = climbing_up[..512]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        climbing_up[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let refused = call(&home, "PUT", "/containers/isle/archive?path=/tmp", &climbing_up);
        assert_ne!(refused.status, 200, "{state}");
        let below = archive(&[("up/through", b"x")]);
        assert_eq!(call(&home, "PUT", "/containers/isle/archive?path=/root", &below).status, 200);
        let found = call(&home, "GET", "/containers/isle/archive?path=/through", b"");
        assert_eq!(members(&found.body), [("through".into(), "x".into())], "{state}");
        home.docker(&["kill", "isle"]);
    }
    assert!(!Path::new("/through").exists());
}

fn what_cannot_be_copied_is_refused(machine: Machine) {
    let (_registry, home) = started(machine);
    let flags = ["--read-only", "-v", "db:/db:ro", "-v", "own:/own"];
    home.docker(&[&["create", "--name", "isle"], &flags[..], &["busybox", "true"]].concat()).ok();
    let put = |path: &str, name: &str| {
        let path = format!("/containers/isle/archive?path={path}&noOverwriteDirNonDir=1");
        call(&home, "PUT", &path, &archive(&[(name, b"x")]))
    };
    for (path, status, words) in [
        ("/tmp", 400, "container rootfs is marked read-only"),
        ("/db", 400, "mounted volume is marked read-only"),
        ("/etc/passwd", 400, "extraction point is not a directory"),
        ("/nowhere", 404, "Could not find the file /nowhere in container isle"),
    ] {
        let refused = put(path, "file");
        assert_eq!((refused.status, said(&refused).as_str()), (status, words), "{path}");
    }
    assert_eq!(put("/own", "sub/file").status, 200);
    let replaced = put("/own", "sub");
    assert!(said(&replaced).contains("cannot overwrite directory"), "{}", said(&replaced));
    let absent = call(&home, "HEAD", "/containers/isle/archive?path=/nowhere", b"");
    assert_eq!(absent.status, 404);
    assert_eq!(call(&home, "GET", "/containers/isle/archive", b"").status, 400);
    assert_eq!(call(&home, "PUT", "/containers/isle/archive?path=/own", b"no tar at all").status, 500);
}

fn changes_are_told_exported_and_committed(machine: Machine) {
    let (_registry, home) = started(machine);
    let script = "echo new > /tmp/new; rm /bin/yes; rm -r /home; mkdir /home; touch /home/again; sleep 1000";
    home.docker(&["run", "-d", "--name", "isle", "-v", "db:/db", "busybox", "sh", "-c", script]).ok();
    home.docker(&["exec", "isle", "sh", "-c", "until test -e /home/again; do :; done; echo v > /db/v"]).ok();
    let diff = home.docker(&["diff", "isle"]).ok();
    let expected = "C /bin\nD /bin/yes\nA /db\nC /home\nA /home/again\nC /tmp\nA /tmp/new\n";
    assert_eq!(diff, expected);

    let exported = members(&call(&home, "GET", "/containers/isle/export", b"").body);
    assert!(exported.contains(&("tmp/new".into(), "new\n".into())));
    assert!(!exported.iter().any(|(name, _)| name == "bin/yes" || name == "db/v"));

    let changes =
        ["-c", "CMD [\"cat\", \"/tmp/new\"]", "-c", "ENV A=b", "-c", "LABEL l=1", "-c", "EXPOSE 80"];
    home.docker(&[&["commit", "-a", "me", "-m", "why"], &changes[..], &["isle", "mine:1"]].concat()).ok();
    assert_eq!(home.docker(&["inspect", "-f", "{{.State.Status}}", "isle"]).line(), "running");
    assert_eq!(home.docker(&["run", "--rm", "mine:1"]).line(), "new");
    let inside =
        home.docker(&["run", "--rm", "mine:1", "sh", "-c", "ls /home; test -e /bin/yes; echo $? $A"]);
    assert_eq!(inside.ok(), "again\n1 b\n");
    let format = "{{.Author}} {{.Comment}} {{.Config.Labels}} {{len .RootFS.Layers}}";
    assert_eq!(home.docker(&["inspect", "-f", format, "mine:1"]).line(), "me why map[l:1] 2");
    let refused = home.docker(&["commit", "-c", "RUN true", "isle"]).fails_with(1);
    assert!(refused.contains("RUN is not a valid change command"), "{refused}");

    // It is an image like any other, also after the machine was away.
    home.holm(&["machine", "restart"]).ok();
    assert_eq!(home.docker(&["run", "--rm", "mine:1"]).line(), "new");
}

fn unused_images_are_pruned_and_the_disk_is_measured(machine: Machine) {
    let (_registry, home) = started(machine);
    home.docker(&[
        "run",
        "--name",
        "isle",
        "-v",
        "db:/db",
        "busybox",
        "sh",
        "-c",
        "echo 12345 > /db/f; echo 123 > /f",
    ])
    .ok();
    home.docker(&["commit", "isle", "one"]).ok();
    home.docker(&["commit", "isle", "one"]).ok();
    let images = |home: &Home| home.docker(&["images", "-q"]).ok().lines().count();
    assert_eq!(images(&home), 3, "busybox, one, and what was one before");

    let used = call(&home, "GET", "/system/df", b"");
    let used: Value = serde_json::from_slice(&used.body).unwrap();
    let busybox = used["Images"].as_array().unwrap().iter().find(|image| image["Containers"] == 1).unwrap();
    assert_eq!(busybox["SharedSize"], busybox["Size"]);
    assert_eq!(used["Volumes"][0]["UsageData"], serde_json::json!({ "RefCount": 1, "Size": 6 }));
    assert_eq!(used["Containers"][0]["SizeRw"], 4);
    assert_eq!(used["LayersSize"].as_u64(), busybox["Size"].as_u64().map(|size| size + 4));
    let one_kind = call(&home, "GET", "/system/df?type=volume", b"");
    let one_kind: Value = serde_json::from_slice(&one_kind.body).unwrap();
    assert_eq!((&one_kind["Images"], one_kind["Volumes"].as_array().unwrap().len()), (&Value::Null, 1));
    assert_eq!(call(&home, "GET", "/system/df?type=nothing", b"").status, 400);

    home.docker(&["image", "prune", "-f", "--filter", "until=1000"]).ok();
    assert_eq!(images(&home), 3, "none is that old");
    home.docker(&["image", "prune", "-f"]).ok();
    assert_eq!(images(&home), 2);
    home.docker(&["image", "prune", "-f", "-a"]).ok();
    assert_eq!(home.docker(&["images", "--format", "{{.Repository}}"]).ok(), "busybox\n");
}
