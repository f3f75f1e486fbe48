//! Volumes and mounts, through the real docker client and plain HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::{Value, json};

on_every_machine!(
    a_volume_is_made_found_used_and_removed,
    what_nobody_named_goes_with_its_container_if_asked,
    an_empty_volume_gets_what_the_image_has,
    a_mount_is_what_its_options_say,
    a_containers_volumes_are_anothers_too,
    the_engines_own_socket_can_be_bound,
    a_link_in_the_image_or_in_a_volume_leads_nowhere_else,
);

fn started(machine: Machine) -> (holm_tests::registry::Registry, Home) {
    let (registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "busybox"]).ok();
    (registry, home)
}

fn call(home: &Home, method: &str, path: &str, body: &Value) -> Response {
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request =
        Request { method, host: "docker", path, content_type: Some("application/json"), body: &body };
    exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap()
}

fn said(response: &Response) -> String {
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    body["message"].as_str().unwrap().to_owned()
}

/// Runs a shell line in a busybox that is gone afterwards.
fn shell(home: &Home, flags: &[&str], line: &str) -> holm_tests::command::Ran {
    home.docker(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", line]].concat())
}

fn a_volume_is_made_found_used_and_removed(machine: Machine) {
    let (_registry, home) = started(machine);
    assert_eq!(home.docker(&["volume", "create", "--label", "a=b", "db"]).line(), "db");
    let made = call(&home, "POST", "/volumes/create", &json!({ "Name": "other" }));
    let body: Value = serde_json::from_slice(&made.body).unwrap();
    assert_eq!((made.status, &body["Labels"], &body["Options"]), (201, &Value::Null, &Value::Null));

    let listed = |filter: &str| home.docker(&["volume", "ls", "-q", "--filter", filter]).ok();
    assert_eq!(listed("label=a=b"), "db\n");
    assert_eq!(listed("name=oth"), "other\n");
    assert_eq!(listed("driver=rexray"), "");
    shell(&home, &["-v", "db:/data"], "echo kept > /data/file").ok();
    assert_eq!(shell(&home, &["-v", "db:/data"], "cat /data/file").line(), "kept");

    home.docker(&["create", "--name", "user", "-v", "db:/data", "busybox"]).ok();
    assert_eq!(listed("dangling=true"), "other\n");
    let used =
        home.docker(&["inspect", "-f", "{{(index .Mounts 0).Name}} {{(index .Mounts 0).Mode}}", "user"]);
    assert_eq!(used.line(), "db z");
    let id = home.docker(&["inspect", "-f", "{{.Id}}", "user"]).line();
    let refused = call(&home, "DELETE", "/volumes/db", &Value::Null);
    assert_eq!((refused.status, said(&refused)), (409, format!("remove db: volume is in use - [{id}]")));
    home.docker(&["rm", "-v", "user"]).ok();

    // A restart of the machine takes nothing.
    home.holm(&["machine", "restart"]).ok();
    assert_eq!(shell(&home, &["-v", "db:/data"], "cat /data/file").line(), "kept");
    assert_eq!(home.docker(&["volume", "rm", "db", "other"]).ok(), "db\nother\n");
    let gone = call(&home, "GET", "/volumes/db", &Value::Null);
    assert_eq!((gone.status, said(&gone).as_str()), (404, "get db: no such volume"));
    assert_eq!(call(&home, "DELETE", "/volumes/db?force=1", &Value::Null).status, 204);
    let wrong = call(&home, "POST", "/volumes/create", &json!({ "Name": "a/b" }));
    assert_eq!(wrong.status, 400);
    assert!(said(&wrong).starts_with("create a/b: \"a/b\" includes invalid characters"), "{}", said(&wrong));
}

fn what_nobody_named_goes_with_its_container_if_asked(machine: Machine) {
    let (_registry, home) = started(machine);
    let count = || home.docker(&["volume", "ls", "-q"]).ok().lines().count();
    shell(&home, &["-v", "/data"], "touch /data/file").ok();
    assert_eq!(count(), 0, "--rm left a volume");
    for (remove, left) in [(&["rm", "one"][..], 1), (&["rm", "-v", "one"], 1)] {
        home.docker(&["create", "--name", "one", "-v", "/data", "-v", "named:/named", "busybox"]).ok();
        home.docker(remove).ok();
        // The named one stays in any case.
        assert_eq!(count(), left + 1);
    }
    let pruned = home.docker(&["volume", "prune", "-f"]).ok();
    assert!(pruned.contains("Deleted Volumes:"), "{pruned}");
    assert_eq!(home.docker(&["volume", "ls", "-q"]).ok(), "named\n");
    home.docker(&["volume", "prune", "-f", "-a"]).ok();
    assert_eq!(count(), 0);
}

fn an_empty_volume_gets_what_the_image_has(machine: Machine) {
    let (_registry, home) = started(machine);
    let list = "stat -c '%n %a %u' /etc/passwd /etc; ls /etc/group";
    let expected = "/etc/passwd 644 0\n/etc 755 0\n/etc/group\n";
    assert_eq!(shell(&home, &["-v", "filled:/etc"], list).ok(), expected);
    assert_eq!(shell(&home, &["-v", "filled:/v"], "ls /v | grep -c passwd").line(), "1");
    // Not one that has something, nor one that must not.
    shell(&home, &["-v", "own:/v"], "touch /v/own").ok();
    assert_eq!(shell(&home, &["-v", "own:/home"], "ls /home").line(), "own");
    assert_eq!(shell(&home, &["-v", "bare:/bin2:nocopy"], "ls /bin2").ok(), "");
    assert_eq!(shell(&home, &["-v", "bare:/usr/bin:nocopy"], "ls /usr/bin").ok(), "");
}

fn a_mount_is_what_its_options_say(machine: Machine) {
    let (_registry, home) = started(machine);
    shell(&home, &["-v", "db:/d"], "mkdir -p /d/sub; echo in > /d/sub/file").ok();
    assert!(shell(&home, &["-v", "db:/d:ro"], "touch /d/x").fails_with(1).contains("Read-only"));
    let sub = ["--mount", "type=volume,src=db,dst=/d,volume-subpath=sub"];
    assert_eq!(shell(&home, &sub, "cat /d/file").line(), "in");
    let tmpfs = ["--tmpfs", "/t:size=64k,mode=700", "--mount", "type=tmpfs,dst=/u,tmpfs-size=1m"];
    let seen = shell(&home, &tmpfs, "df -k /t /u | awk '{print $2}' | tail -2; stat -c %a /t").ok();
    assert_eq!(seen, "64\n1024\n700\n");
    home.docker(&["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=128k", "ram"])
        .ok();
    assert_eq!(shell(&home, &["-v", "ram:/r"], "df -k /r | awk '{print $2}' | tail -1").line(), "128");
    let refused = |flags: &[&str]| shell(&home, flags, "true").fails_with(125);
    assert!(refused(&["-v", "/a:/b:wrong"]).contains("invalid mode: wrong"));
    assert!(refused(&["-v", "a1:/x", "-v", "a2:/x"]).contains("Duplicate mount point: /x"));
    let none = ["--mount", "type=volume,src=db,dst=/d,volume-subpath=none"];
    // The client's code for these words, whatever is missing.
    assert!(shell(&home, &none, "true").fails_with(127).contains("no such file or directory"));
}

fn a_containers_volumes_are_anothers_too(machine: Machine) {
    let (_registry, home) = started(machine);
    home.docker(&["run", "--name", "first", "-v", "/anon", "-v", "db:/db", "busybox", "touch", "/anon/a"])
        .ok();
    assert_eq!(
        shell(&home, &["--volumes-from", "first"], "touch /db/b; ls /anon /db").ok(),
        "/anon:\na\n\n/db:\nb\n"
    );
    let read_only = shell(&home, &["--volumes-from", "first:ro"], "touch /db/c");
    assert!(read_only.fails_with(1).contains("Read-only"));
    let unknown = shell(&home, &["--volumes-from", "nobody"], "true");
    assert!(unknown.fails_with(125).contains("No such container: nobody"));
}

fn the_engines_own_socket_can_be_bound(machine: Machine) {
    let (_registry, home) = started(machine);
    let request = "printf 'GET /_ping HTTP/1.0\\r\\n\\r\\n' | nc local:/var/run/docker.sock";
    let socket = ["-v", "/var/run/docker.sock:/var/run/docker.sock"];
    let seen = shell(&home, &socket, &format!("test -S /var/run/docker.sock && echo socket; {request}"));
    let seen = seen.stdout;
    assert!(seen.starts_with("socket\n"), "{seen}");
}

fn a_link_in_the_image_or_in_a_volume_leads_nowhere_else(machine: Machine) {
    let (_registry, home) = started(machine);
    let links = "ln -s ../../../../../../tmp /trap; mkdir -p /run/holm; ln -s /run/holm /away";
    home.docker(&["run", "--name", "maker", "busybox", "sh", "-c", links]).ok();
    home.docker(&["commit", "maker", "links"]).ok();
    // The mount lands where the link leads in the container.
    let seen = home.docker(&[
        "run",
        "--rm",
        "-v",
        "db:/trap/inner",
        "links",
        "sh",
        "-c",
        "touch /tmp/inner/x; ls /tmp",
    ]);
    assert_eq!(seen.line(), "inner");
    let seen = home.docker(&["run", "--rm", "-v", "db:/away/deep", "links", "ls", "/run/holm/deep"]);
    assert_eq!(seen.line(), "x");
    // Nor does a folder of a volume, however its links are.
    shell(&home, &["-v", "db:/d"], "ln -s / /d/root; ln -s ../../../../.. /d/up").ok();
    for link in ["root", "up"] {
        let mount = format!("type=volume,src=db,dst=/d,volume-subpath={link}");
        let listed = shell(&home, &["--mount", &mount], "ls /d").ok();
        assert!(listed.contains('x') && !listed.contains("proc"), "{listed}");
    }
}
