//! `holm` as users type it: processes in containers, files in and out, volumes, figures, contexts; and that it says
//! what the real `docker` says of the same engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use holm_tests::command::run_untouched;
use holm_tests::home::{Home, Machine, programs};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use holm_tests::terminal::run_on_terminal;
use rustix::process::{Pid, Signal, kill_process};

on_every_machine!(
    processes_run_in_a_container_and_their_ends_are_ours,
    files_go_into_a_container_and_come_out_again,
    volumes_are_made_listed_used_and_removed,
    what_is_not_used_goes_when_it_is_asked_for,
    holm_and_docker_say_the_same,
    a_context_leads_docker_to_the_machine,
    signals_of_all_kinds_reach_the_container,
    the_doctor_finds_what_is_wrong,
    docker_settings_completion_and_logins_work,
);

const SLEEP: [&str; 2] = ["sleep", "1000"];

fn start(home: &Home, name: &str, flags: &[&str]) {
    let words = [&["run", "-d", "--init", "--name", name], flags, &["busybox"], &SLEEP].concat();
    home.holm(&words).ok();
}

fn processes_run_in_a_container_and_their_ends_are_ours(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    start(&home, "isle", &["-e", "OWN=1"]);
    assert_eq!(
        home.holm(&["exec", "-e", "MORE=2", "isle", "sh", "-c", "echo $OWN$MORE; exit 0"]).ok(),
        "12\n"
    );
    home.holm(&["exec", "isle", "sh", "-c", "exit 7"]).fails_with(7);
    assert_eq!(
        home.holm(&["exec", "-w", "/tmp", "-u", "1000", "isle", "sh", "-c", "pwd; id -u"]).ok(),
        "/tmp\n1000\n"
    );
    assert_eq!(home.holm_with_input(&["exec", "-i", "isle", "cat"], b"typed").ok(), "typed");
    let size = run_on_terminal(&home.command(&["exec", "-it", "isle", "stty", "size"]));
    assert_eq!(size.line(), "40 100");
    let refused = home.holm(&["exec", "-it", "isle", "true"]).fails_with(1);
    assert!(refused.starts_with("the input device is not a TTY"), "{refused}");

    assert!(home.holm(&["top", "isle"]).ok().contains("sleep 1000"));
    assert_eq!(home.holm(&["rename", "isle", "island"]).ok(), "");
    assert_eq!(home.holm(&["pause", "island"]).line(), "island");
    let refused = home.holm(&["attach", "island"]).fails_with(1);
    assert_eq!(refused, "You cannot attach to a paused container, unpause it first\n");
    assert_eq!(home.holm(&["unpause", "island"]).line(), "island");
    assert_eq!(home.holm(&["update", "--restart", "on-failure:3", "island"]).line(), "island");
    let policy = "{{.HostConfig.RestartPolicy.Name}}:{{.HostConfig.RestartPolicy.MaximumRetryCount}}";
    assert_eq!(home.holm(&["inspect", "-f", policy, "island"]).line(), "on-failure:3");
    let figures = home.holm(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "island"]).line();
    assert!(figures.starts_with("island "), "{figures}");

    // The status of what was attached to is the command's own.
    home.holm(&["create", "--name", "short", "busybox", "sh", "-c", "echo out; exit 5"]).ok();
    let ran = home.holm(&["start", "-a", "short"]);
    assert_eq!(ran.stdout, "out\n");
    ran.fails_with(5);
    let refused = home.holm(&["attach", "short"]).fails_with(1);
    assert_eq!(refused, "You cannot attach to a stopped container, start it first\n");
}

fn files_go_into_a_container_and_come_out_again(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    start(&home, "isle", &[]);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    fs::create_dir(at("tree")).unwrap();
    fs::write(at("tree/file"), "text").unwrap();
    symlink("/etc/passwd", at("tree/link")).unwrap();
    let inside = |script: &str| home.holm(&["exec", "isle", "sh", "-c", script]).ok();

    // Into a folder that is there, under a new name, and only what is in it.
    home.holm(&["cp", &at("tree"), "isle:/tmp"]).ok();
    home.holm(&["cp", &at("tree"), "isle:/tmp/new"]).ok();
    home.holm(&["cp", &format!("{}/.", at("tree")), "isle:/home"]).ok();
    home.holm(&["cp", &at("tree/file"), "isle:/tmp/one"]).ok();
    assert_eq!(inside("cat /tmp/tree/file /tmp/new/file /home/file /tmp/one"), "texttexttexttext");
    assert_eq!(inside("readlink /tmp/tree/link"), "/etc/passwd\n");
    let refused = home.holm(&["cp", &at("tree"), "isle:/tmp/one"]).fails_with(1);
    assert_eq!(refused, "cannot copy directory\n");
    let refused = home.holm(&["cp", &at("nothing"), "isle:/tmp"]).fails_with(1);
    assert_eq!(refused, format!("lstat {}: no such file or directory\n", at("nothing")));

    // And out again, as files and as an archive.
    home.holm(&["cp", "isle:/tmp/new", &at("back")]).ok();
    assert_eq!(fs::read_to_string(at("back/file")).unwrap(), "text");
    assert_eq!(fs::read_link(at("back/link")).unwrap().to_str(), Some("/etc/passwd"));
    home.holm(&["cp", "isle:/tmp/tree/.", &at("back")]).ok();
    home.holm(&["cp", "isle:/tmp/one", &at("tree/one")]).ok();
    assert_eq!(fs::read_to_string(at("tree/one")).unwrap(), "text");
    assert_eq!(fs::metadata(at("tree/one")).unwrap().len(), 4);
    let refused = home.holm(&["cp", "isle:/nope", &at("x")]).fails_with(1);
    assert!(refused.contains("Could not find the file /nope in container isle"), "{refused}");
    home.holm(&["export", "-o", &at("all.tar"), "isle"]).ok();
    assert!(fs::metadata(at("all.tar")).unwrap().len() > 1_000_000);
    let changes = home.holm(&["diff", "isle"]).ok();
    assert!(changes.lines().any(|line| line == "A /tmp/one"), "{changes}");
}

fn volumes_are_made_listed_used_and_removed(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    assert_eq!(home.holm(&["volume", "create", "--label", "a=b", "data"]).line(), "data");
    home.holm(&["run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo kept > /d/f"]).ok();
    let read =
        ["run", "--rm", "--mount", "type=volume,source=data,target=/d,readonly", "busybox", "cat", "/d/f"];
    assert_eq!(home.holm(&read).line(), "kept");
    assert_eq!(home.holm(&["volume", "ls", "--format", "{{.Name}} {{.Labels}}"]).line(), "data a=b");
    assert_eq!(home.holm(&["volume", "inspect", "-f", "{{.Name}} {{.Driver}}", "data"]).line(), "data local");
    start(&home, "isle", &["-v", "data:/d"]);
    let refused = home.holm(&["volume", "rm", "data"]).fails_with(1);
    assert!(refused.contains("volume is in use"), "{refused}");
    home.holm(&["rm", "-f", "isle"]).ok();
    assert_eq!(home.holm(&["volume", "rm", "data"]).line(), "data");
    assert_eq!(home.holm(&["volume", "ls", "-q"]).ok(), "");
}

fn what_is_not_used_goes_when_it_is_asked_for(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let id = home.holm(&["create", "busybox"]).line();
    let asked = home.holm_with_input(&["container", "prune"], b"n\n").ok();
    assert_eq!(
        asked,
        "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
    );
    assert_eq!(home.holm(&["ps", "-aq", "--no-trunc"]).line(), id);
    home.holm(&["volume", "create", "spare"]).ok();
    let gone = home.holm_with_input(&["volume", "prune", "-a"], b"y\n").ok();
    assert!(gone.contains("Deleted Volumes:\nspare\n\nTotal reclaimed space: "), "{gone}");
    assert_eq!(home.holm(&["network", "prune", "-f"]).ok(), "");
    let refused = home.holm(&["system", "prune", "--volumes", "--filter", "until=1h"]).fails_with(1);
    assert_eq!(refused, "ERROR: The \"until\" filter is not supported with \"--volumes\"\n");
}

fn holm_and_docker_say_the_same(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    start(&home, "isle", &["-l", "a=b", "-v", "data:/d", "-v", "/anonymous", "--tmpfs", "/t", "-m", "64m"]);
    home.holm(&["create", "--name", "idle", "--read-only", "--cap-add", "NET_ADMIN", "busybox", "true"]).ok();
    for words in [
        &["ps", "-a", "--no-trunc"][..],
        &["ps", "-a", "--format", "json"],
        &["ps", "--format", "table {{.Names}}\t{{.Mounts}}\t{{.LocalVolumes}}\t{{.Labels}}"],
        &["images", "--digests"],
        &["volume", "ls"],
        &["volume", "ls", "--format", "json"],
        &["volume", "inspect", "data"],
        &["network", "ls"],
        &["network", "ls", "--format", "json"],
        &["network", "inspect", "bridge"],
        &["inspect", "isle", "idle"],
        &[
            "inspect",
            "-f",
            "{{json .HostConfig.CapAdd}} {{.HostConfig.Memory}} {{range .Mounts}}{{.Type}} {{end}}",
            "isle",
        ],
        &["inspect", "-f", "{{range $k, $v := .Config.Labels}}{{$k}}={{$v | upper}};{{end}}", "isle"],
        &["inspect", "-f", "{{len .Mounts}} {{index .Config.Cmd 1}} {{.State.Status | title}}", "isle"],
        &["port", "isle"],
        &["diff", "idle"],
        &["container", "inspect", "nope"],
        &["exec", "nope", "true"],
        &["rm", "nope"],
        &["pause", "idle"],
        &["cp", "isle:/nope", "-"],
        &["attach", "idle"],
        &["rename", "nope", "x"],
        &["volume", "rm", "nope"],
        &["update", "isle"],
        &["top", "idle"],
        &["version", "--format", "{{.Server.Version}}"],
    ] {
        let (ours, theirs) = (home.holm(words), home.docker(words));
        assert_eq!(ours.stdout, theirs.stdout, "{words:?}\n{ours}\n{theirs}");
        assert_eq!(ours.status, theirs.status, "{words:?}\n{ours}\n{theirs}");
        // Holm may add what to do next.
        let said = theirs.stderr.trim_end().replace("'docker ", "'holm ");
        assert!(ours.stderr.starts_with(&said), "{words:?}\n{ours}\n{theirs}");
    }
}

fn a_context_leads_docker_to_the_machine(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().to_str().unwrap();
    let with = |program: &str, words: &[&str]| {
        let words = [&["--config", config], words].concat();
        let command = match program {
            "holm" => home.command(&words),
            program => {
                let mut command = std::process::Command::new(program);
                command.args(words);
                command
            }
        };
        let mut command = command;
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        holm_tests::command::run(command, b"")
    };
    home.holm(&["create", "--name", "isle", "busybox"]).ok();
    assert_eq!(with("holm", &["context", "create", "holm", "--description", "an island"]).line(), "holm");
    assert_eq!(with("holm", &["context", "use", "holm"]).line(), "holm");
    assert_eq!(with("docker", &["context", "show"]).line(), "holm");
    assert_eq!(with("docker", &["ps", "-a", "--format", "{{.Names}}"]).line(), "isle");
    assert_eq!(with("holm", &["--context", "holm", "ps", "-a", "--format", "{{.Names}}"]).line(), "isle");
    let listed = ["context", "ls", "--format", "{{.Name}} {{.Description}} {{.DockerEndpoint}}"];
    let (ours, theirs) = (with("holm", &listed).ok(), with("docker", &listed).ok());
    let holms = |text: &str| text.lines().find(|line| line.starts_with("holm ")).map(str::to_owned);
    assert!(holms(&ours).is_some());
    assert_eq!(holms(&ours), holms(&theirs));
    with("holm", &["context", "rm", "holm"]).fails_with(1);
    assert_eq!(with("holm", &["context", "rm", "-f", "holm"]).line(), "holm");
    assert_eq!(with("docker", &["context", "show"]).line(), "default");
}

fn signals_of_all_kinds_reach_the_container(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let id_file = folder.path().join("id").display().to_string();
    // It tells what it gets, and ends on the last.
    let script = "for s in HUP USR1 ALRM CONT WINCH; do trap \"echo $s\" $s; done; trap 'echo TERM; exit 4' TERM; \
                  echo up; while :; do sleep 1 & wait $!; done";
    let words = ["run", "--name", "isle", "--cidfile", &id_file, "busybox", "sh", "-c", script];
    let mut child = home.command(&words).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "up");
    let pid = Pid::from_child(&child);
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::ALARM, "ALRM"),
        (Signal::CONT, "CONT"),
        (Signal::WINCH, "WINCH"),
        (Signal::TERM, "TERM"),
    ] {
        kill_process(pid, signal).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), name);
    }
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

fn the_doctor_finds_what_is_wrong(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let report = home.holm(&["doctor", "--format", "{{.Check}} {{.Status}}"]).ok();
    for line in ["names ok", "registry ok", "proxy ok", "mtu ok", "clock ok"] {
        assert!(report.lines().any(|found| found == line), "{line}: {report}");
    }
    let row = home.holm(&["doctor", "--format", "json"]).ok();
    let row: serde_json::Value = serde_json::from_str(row.lines().next().unwrap()).unwrap();
    assert_eq!((row["Check"].as_str(), row["Status"].as_str()), (Some("names"), Some("ok")));

    // A folder that a container has mounted is looked after.
    let folder = home.path().join("shared");
    fs::create_dir(&folder).unwrap();
    let bind = format!("{}:/shared", folder.display());
    home.holm(&["run", "-d", "--init", "--name", "isle", "-v", &bind, "busybox", "sleep", "1000"]).ok();
    let shares =
        || run_untouched(&home.command(&["doctor", "--format", "{{.Check}} {{.Status}} {{.Found}}"]));
    let well = format!("shares ok {} is there, served and watched", folder.display());
    let told = shares().stdout;
    assert!(told.lines().any(|line| line == well), "{told}");
    fs::remove_dir(&folder).unwrap();
    let gone = shares();
    assert!(gone.stdout.contains(&format!("shares wrong {} is gone", folder.display())), "{gone:?}");
    assert_eq!(gone.status, 1);
    home.holm(&["rm", "-f", "isle"]).ok();

    // Nobody listens on port 1.
    home.kill("daemon_pid").unwrap();
    let mut sick = home.command(&["doctor", "--format", "{{.Check}} {{.Status}} {{.Found}}"]);
    sick.env("https_proxy", "http://127.0.0.1:1").env("http_proxy", "http://127.0.0.1:1");
    let ran = run_untouched(&sick);
    assert!(ran.stdout.contains("proxy wrong http://host.docker.internal:1 cannot be reached: "), "{ran:?}");
    assert!(ran.stdout.contains("registry ok "), "{ran:?}");
    assert_eq!(ran.status, 1);
}

fn docker_settings_completion_and_logins_work(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = r#"{"psFormat": "{{.Names}}:{{.State}}", "HttpHeaders": {"X-Isle": "1"},
        "proxies": {"default": {"httpProxy": "http://proxy:1"}}, "detachKeys": "ctrl-x,x"}"#;
    fs::write(folder.path().join("config.json"), settings).unwrap();
    let with = |words: &[&str]| {
        let mut command = home.command(words);
        command.env("DOCKER_CONFIG", folder.path());
        run_untouched(&command)
    };
    // As Docker's own command shows it, which colours its titles on no terminal too.
    home.holm(&["pull", "-q", "busybox"]).ok();
    let plain = ["\u{1b}[39m", "\u{1b}[1m", "\u{1b}[0m"]
        .iter()
        .fold(home.docker(&["images", "--tree"]).ok(), |text, colour| text.replace(colour, ""));
    assert_eq!(home.holm(&["images", "--tree"]).ok(), plain);
    with(&["run", "-d", "--init", "--name", "isle", "busybox", "sleep", "1000"]).ok();
    assert_eq!(with(&["ps"]).ok(), "isle:running\n");
    // What is here for another platform is not here.
    for words in [["history", "busybox"].as_slice(), &["image", "inspect", "busybox"], &["rmi", "busybox"]] {
        let refused = home.holm(&[words, &["--platform", "linux/s390x"]].concat()).fails_with(1);
        assert!(refused.contains("does not match the specified platform (linux/s390x)"), "{refused}");
    }
    home.holm(&["history", "--platform", std::env::consts::ARCH, "busybox"]).ok();
    // A container may talk to the engine, as whoever started it.
    let given = r#"{"auths":{"registry.lan":{"auth":"bWU6c2VjcmV0"}}}"#;
    let mut talker = home.command(&[
        "run",
        "--rm",
        "--use-api-socket",
        "busybox",
        "sh",
        "-c",
        "ls /var/run/docker.sock && cat $DOCKER_CONFIG/config.json",
    ]);
    talker.env("DOCKER_AUTH_CONFIG", given);
    let said = run_untouched(&talker).ok();
    assert!(said.starts_with("/var/run/docker.sock\n") && said.contains("bWU6c2VjcmV0"), "{said}");
    assert_eq!(with(&["ps", "-q", "--no-trunc"]).line().len(), 64);
    assert_eq!(
        with(&["exec", "isle", "sh", "-c", "echo $HTTP_PROXY $http_proxy"]).line(),
        "http://proxy:1 http://proxy:1"
    );
    let told = with(&["-D", "ps", "-q"]);
    assert!(told.stderr.contains("level=debug") && told.stderr.contains("/containers/json"), "{told:?}");

    // What Docker's own command would offer, and what it would not.
    let offered = |words: &[&str]| with(&[&["__complete"], words].concat()).ok();
    assert_eq!(offered(&["stop", ""]), "isle\n:4\n");
    assert_eq!(offered(&["start", ""]), ":4\n");
    assert_eq!(offered(&["run", "busy"]), "busybox:latest\n:4\n");
    assert_eq!(offered(&["network", "inspect", "bri"]), "bridge\n:4\n");

    // A login elsewhere is a program named ssh, which here only runs what it is told to run.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(programs().join("holm"), bin.join("holm")).unwrap();
    fs::write(bin.join("ssh"), "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let remote = |words: &[&str]| {
        let mut command = home.command(&[&["-H", "ssh://me@isle"], words].concat());
        command.env("PATH", &path);
        run_untouched(&command)
    };
    assert_eq!(remote(&["exec", "isle", "sh", "-c", "echo out; exit 3"]).stdout, "out\n");
    assert_eq!(remote(&["inspect", "-f", "{{.State.Status}}", "isle", "isle"]).ok(), "running\nrunning\n");
    fs::write(bin.join("ssh"), "#!/bin/sh\necho no route >&2\nexit 255\n").unwrap();
    let refused = remote(&["ps"]).fails_with(1);
    assert!(refused.contains("stderr=no route"), "{refused}");
}
