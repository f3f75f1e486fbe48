//! Folders of the computer in containers, through the real docker client.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use holm_tests::command::Ran;
use holm_tests::home::{Home, Machine, end, programs};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use rustix::process::Signal;

on_every_machine!(
    a_folder_of_the_computer_is_read_and_written_from_both_sides,
    a_watcher_in_a_container_is_told_what_is_changed_on_the_computer,
    a_socket_of_the_computer_is_relayed,
    shares_that_overlap_see_each_others_changes,
);

fn started(machine: Machine) -> (holm_tests::registry::Registry, Home) {
    let (registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "busybox"]).ok();
    (registry, home)
}

/// Runs a shell line in a busybox that is gone afterwards.
fn shell(home: &Home, flags: &[&str], line: &str) -> Ran {
    home.docker(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", line]].concat())
}

fn bind(source: &Path, rest: &str) -> String {
    format!("{}:{rest}", source.display())
}

/// A container named `watcher` that watches these folders, and what it tells from now on.
fn watch(home: &Home, flags: &[&str], folders: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut watcher = home
        .command(&["run", "--rm", "--name", "watcher"])
        .args(flags)
        .args(["-v", &bind(&programs(), "/programs:ro"), "busybox", "/programs/holm-probe", "watch"])
        .args(folders)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "watching");
    (watcher, lines)
}

fn a_folder_of_the_computer_is_read_and_written_from_both_sides(machine: Machine) {
    let (_registry, home) = started(machine);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    // `-v` makes what is missing, `--mount` does not.
    shell(&home, &["-v", &bind(&path("new/deep"), "/h")], "echo out > /h/file; ln -s file /h/link").ok();
    assert_eq!(fs::read_to_string(path("new/deep/link")).unwrap(), "out\n");
    let absent = format!("type=bind,src={},dst=/h", path("absent").display());
    let said = shell(&home, &["--mount", &absent], "true").fails_with(125);
    let words = "invalid mount config for type \"bind\": bind source path does not exist: ";
    assert!(said.contains(&format!("{words}{}", path("absent").display())), "{said}");
    assert!(shell(&home, &["-v", r"C:\Users\me:/h"], "true").fails_with(125).contains("Windows"));

    // What is read-only is so on the computer's side, and a single file is one.
    let file = path("new/deep/file");
    let seen = shell(&home, &["-v", &bind(&file, "/etc/one:ro")], "cat /etc/one; echo x > /etc/one");
    assert!(seen.fails_with(1).contains("Read-only"));
    shell(&home, &["-v", &bind(&file, "/one")], "echo in > /one").ok();
    assert_eq!(fs::read_to_string(&file).unwrap(), "in\n");

    // A volume in a share, in another container's share of the same folder; each sees the other at once.
    let app = bind(&path("new"), "/app");
    let nested = ["-v", &app, "-v", "inner:/app/deep/inner"];
    home.docker(&[&["run", "-d", "--name", "one"], &nested[..], &["busybox", "sleep", "1000"]].concat()).ok();
    home.docker(&["run", "-d", "--name", "two", "-v", &app, "busybox", "sleep", "1000"]).ok();
    let exec = |name: &str, line: &str| home.docker(&["exec", name, "sh", "-c", line]).ok();
    exec("one", "echo volume > /app/deep/inner/v; echo share > /app/deep/s");
    assert_eq!(exec("two", "ls /app/deep/inner; cat /app/deep/s"), "share\n");
    assert_eq!(fs::read_dir(path("new/deep/inner")).unwrap().count(), 0, "the volume's files are its own");
    let list = home.holm(&["share", "list", "--format", "{{.Path}} {{.Kind}} {{.Mode}}"]).ok();
    assert_eq!(list, format!("{} folder rw\n", path("new").display()));

    // `cp` sees it, whether the container runs or not.
    home.docker(&["stop", "-t", "0", "one", "two"]).ok();
    assert_eq!(home.holm(&["share", "list", "--format", "{{.Path}}"]).ok(), "");
    home.docker(&["cp", "two:/app/deep/s", path("copied").to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(path("copied")).unwrap(), "share\n");

    a_volume_may_stand_for_a_folder(&home, folder.path());

    // Without the folder there are errors, and no waiting.
    home.docker(&["start", "two"]).ok();
    fs::remove_dir_all(path("new")).unwrap();
    assert!(home.docker(&["exec", "two", "cat", "/app/deep/s"]).fails_with(1).contains("can't open"));
    home.docker(&["rm", "-f", "one", "two"]).ok();
}

/// Volumes of the driver `local` with `o=bind` are served like other folders of the computer.
fn a_volume_may_stand_for_a_folder(home: &Home, folder: &Path) {
    let volume = |name: &str, device: &Path, options: &str| {
        let (device, options) = (format!("device={}", device.display()), format!("o={options}"));
        home.docker(&["volume", "create", "-o", "type=none", "-o", &device, "-o", &options, name]).ok();
    };
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    volume("data", &data, "bind");
    volume("fixed", &data, "bind,ro,noexec");
    // Empty, and so it gets what the image has.
    shell(home, &["-v", "data:/etc"], "cp /bin/true /etc/true; mkdir /etc/sub; echo in > /etc/sub/file").ok();
    assert!(data.join("passwd").is_file());
    assert_eq!(fs::read_to_string(data.join("sub/file")).unwrap(), "in\n");
    let sub = ["--mount", "type=volume,src=data,dst=/d,volume-subpath=sub"];
    assert_eq!(shell(home, &sub, "cat /d/file").line(), "in");
    let refused = shell(home, &["-v", "fixed:/d"], "/d/true || echo x > /d/new");
    let said = refused.fails_with(1);
    assert!(said.contains("Permission denied") && said.contains("Read-only"), "{said}");

    home.docker(&["create", "--name", "holder", "-v", "data:/d", "busybox"]).ok();
    assert_eq!(home.docker(&["cp", "holder:/d/sub/file", "-"]).ok().matches("in\n").count(), 1);
    home.docker(&["rm", "holder"]).ok();
    assert_eq!(home.docker(&["volume", "rm", "data", "fixed"]).ok(), "data\nfixed\n");
    assert!(data.join("passwd").is_file(), "the folder is the computer's");

    for (name, device, why, code) in [
        ("gone", folder.join("gone"), "no such file or directory", 127),
        ("file", data.join("passwd"), "not a directory", 125),
    ] {
        volume(name, &device, "bind");
        let said = shell(home, &["-v", &format!("{name}:/d")], "true").fails_with(code);
        let words = format!("failed to mount local volume: mount {}:", device.display());
        assert!(said.contains(&words) && said.contains(&format!("_data, flags: 0x1000: {why}")), "{said}");
    }
    assert_eq!(home.holm(&["share", "list", "--format", "{{.Path}}"]).ok(), "");
}

fn a_watcher_in_a_container_is_told_what_is_changed_on_the_computer(machine: Machine) {
    let (_registry, home) = started(machine);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("sub")).unwrap();
    fs::write(path("a"), "old").unwrap();
    fs::write(path("long"), vec![b'x'; 1 << 20]).unwrap();

    let (mut watcher, mut lines) = watch(&home, &["-v", &bind(folder.path(), "/h")], &["/h", "/h/sub"]);
    let mut told = |expected: &[&str]| {
        for line in expected {
            assert_eq!(lines.next().unwrap().unwrap().trim_end(), *line);
        }
    };

    // Another program than the daemon does it, each time after the last was told.
    let sh = |line: &str| {
        let done = Command::new("sh").args(["-c", line]).current_dir(folder.path()).status().unwrap();
        assert!(done.success());
    };
    sh("echo new >> a");
    told(&["/h MODIFY a", "/h CLOSE_WRITE a"]);
    let seen = home.docker(&["exec", "watcher", "cat", "/h/a"]).ok();
    assert_eq!(seen, "oldnew\n");
    sh("chmod 600 a");
    told(&["/h ATTRIB a"]);
    sh("mkdir dir");
    told(&["/h CREATE dir"]);
    sh("mv a sub/b");
    told(&["/h MOVED_FROM a", "/h/sub MOVED_TO b"]);
    sh("ln -s b sub/link");
    told(&["/h/sub CREATE link"]);
    sh("rm sub/b");
    told(&["/h/sub DELETE b"]);
    sh("rmdir dir");
    told(&["/h DELETE dir"]);
    // What the container does itself is told once, and by its own kernel.
    home.docker(&["exec", "watcher", "sh", "-c", "mkdir /h/own"]).ok();
    told(&["/h CREATE own"]);
    sh("mkdir last");
    told(&["/h CREATE last"]);
    // The same of a long file that somebody reads meanwhile, which this computer's kernel may do by itself.
    let reads = "exec 3< /h/long; mkdir /h/reading; exec sleep 1000";
    home.docker(&["exec", "-d", "watcher", "sh", "-c", reads]).ok();
    told(&["/h CREATE reading"]);
    sh("echo more >> long");
    told(&["/h MODIFY long", "/h CLOSE_WRITE long"]);
    let seen = home.docker(&["exec", "watcher", "sh", "-c", "echo own >> /h/long; tail -c 9 /h/long"]).ok();
    assert_eq!(seen, "more\nown\n");
    told(&["/h MODIFY long", "/h CLOSE_WRITE long"]);
    assert!(fs::read(path("long")).unwrap().ends_with(b"more\nown\n"));
    sh("mkdir end");
    told(&["/h CREATE end"]);
    home.docker(&["rm", "-f", "watcher"]).ok();
    watcher.wait().unwrap();
}

fn a_socket_of_the_computer_is_relayed(machine: Machine) {
    let (_registry, home) = started(machine);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = thread::spawn(move || {
        for number in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"hello");
            stream.write_all(format!("answer {number}\n").as_bytes()).unwrap();
        }
    });
    let ask = "/programs/holm-probe ask /agent hello";
    let flags = ["-v", &bind(&socket, "/agent"), "-v", &bind(&programs(), "/programs:ro")];
    assert_eq!(shell(&home, &flags, &format!("{ask}; {ask}")).ok(), "answer 0\nanswer 1\n");
    serving.join().unwrap();
}

fn shares_that_overlap_see_each_others_changes(machine: Machine) {
    let (_registry, home) = started(machine);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("sub/f"), "old").unwrap();
    // Three shares: all of it, all of it to be read, a part.
    let (all, read, part) = (
        bind(folder.path(), "/all"),
        bind(folder.path(), "/read:ro"),
        bind(&folder.path().join("sub"), "/part"),
    );
    let (mut watcher, mut lines) = watch(&home, &["-v", &read, "-v", &part], &["/read/sub", "/part"]);
    // Each in its own time.
    let mut told = |expected: &[&str]| {
        let mut told: Vec<_> = expected.iter().map(|_| lines.next().unwrap().unwrap()).collect();
        told.sort();
        assert_eq!(told, expected);
    };
    home.docker(&["run", "-d", "--name", "writer", "-v", &all, "busybox", "sleep", "1000"]).ok();
    let exec = |name: &str, line: &str| home.docker(&["exec", name, "sh", "-c", line]).ok();

    assert_eq!(exec("watcher", "cat /read/sub/f /part/f"), "oldold");
    exec("writer", "mkdir /all/sub/made");
    told(&["/part CREATE made", "/read/sub CREATE made"]);
    exec("writer", "truncate -s 2 /all/sub/f");
    told(&["/part CLOSE_WRITE f", "/part MODIFY f", "/read/sub CLOSE_WRITE f", "/read/sub MODIFY f"]);
    assert_eq!(exec("watcher", "cat /read/sub/f /part/f"), "olol");
    // From the part to the others; its own kernel has told of it already.
    exec("watcher", "mkdir /part/again");
    told(&["/part CREATE again", "/read/sub CREATE again"]);
    assert_eq!(exec("writer", "cat /all/sub/f; rmdir /all/sub/again"), "ol");
    told(&["/part DELETE again", "/read/sub DELETE again"]);
    assert_eq!(exec("watcher", "ls /read/sub /part | sort -u"), "\n/part:\n/read/sub:\nf\nmade\n");
    home.docker(&["rm", "-f", "watcher", "writer"]).ok();
    watcher.wait().unwrap();
}

#[test]
fn a_killed_pump_means_errors_and_the_next_container_has_a_new_one() {
    let (_registry, home) = started(Machine::Process);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "kept").unwrap();
    let bound = bind(folder.path(), "/h");
    let line = "exec 3< /h/file; cd /h; trap 'cat <&3; cat file; exit 7' TERM; echo ready; sleep 1000 & wait";
    let mut user = home
        .docker_command(&["run", "--rm", "--name", "user", "-v", &bound, "busybox", "sh", "-c", line])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(user.stdout.take().unwrap());
    let mut ready = String::new();
    output.read_line(&mut ready).unwrap();
    assert_eq!(ready, "ready\n");

    for pump in home.pumps().unwrap() {
        end(pump, Signal::KILL).unwrap();
    }
    // Neither what is open, nor what is not, nor whoever comes anew to it.
    let refused = home.docker(&["exec", "user", "ls", "/h"]).fails_with(1);
    assert!(refused.contains("Transport endpoint is not connected"), "{refused}");
    let seen = shell(&home, &["-v", &bound], "cat /h/file; echo more > /h/file");
    assert_eq!(seen.ok(), "kept");
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "more\n");
    home.docker(&["stop", "user"]).ok();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), user.wait().unwrap().code()), ("", Some(7)));
    assert_eq!(home.holm(&["share", "list", "--format", "{{.Path}}"]).ok(), "");
}

/// In the middle of a request for a file not even SIGKILL ends a process; whoever replays changes makes many.
#[test]
fn a_machine_can_be_killed_while_the_computer_changes_files() {
    let (_registry, home) = started(Machine::Process);
    let folder = tempfile::tempdir().unwrap();
    let running =
        home.docker(&["run", "-d", "-v", &bind(folder.path(), "/h"), "busybox", "sleep", "1000"]).line();
    home.docker(&["exec", &running, "ls", "/h"]).ok();
    let (stop, stopped) = channel();
    let changes = thread::spawn({
        let folder = folder.path().to_owned();
        move || {
            while stopped.try_recv().is_err() {
                for number in 0..500 {
                    fs::write(folder.join(number.to_string()), "x").unwrap();
                }
                for number in 0..500 {
                    fs::remove_file(folder.join(number.to_string())).unwrap();
                }
            }
        }
    });
    home.docker(&["exec", &running, "sh", "-c", "while [ ! -e /h/499 ]; do :; done"]).ok();
    // The last of its processes takes the rest along, so this waits for the pump as well.
    assert!(end(home.process("machine_pid").unwrap(), Signal::KILL).unwrap());
    stop.send(()).unwrap();
    changes.join().unwrap();
    shell(&home, &["-v", &bind(folder.path(), "/h")], "ls /h").ok();
}

#[test]
fn who_comes_after_a_folder_was_replaced_gets_the_new_one() {
    let (_registry, home) = started(Machine::Process);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dist");
    let bound = bind(&path, "/h");
    home.docker(&["run", "-d", "--name", "first", "-v", &bound, "busybox", "sleep", "1000"]).ok();
    home.docker(&["exec", "first", "touch", "/h/old"]).ok();
    // As a build does, under a container that goes on.
    fs::remove_dir_all(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("new"), "").unwrap();
    assert_eq!(shell(&home, &["-v", &bound], "ls /h").ok(), "new\n");
    assert_eq!(home.docker(&["exec", "first", "ls", "/h"]).ok(), "");
    home.docker(&["rm", "-f", "first"]).ok();
}

#[test]
fn a_mount_outlives_the_engine_and_comes_back_with_the_daemon() {
    let (_registry, home) = started(Machine::Process);
    let folder = tempfile::tempdir().unwrap();
    let socket = ["-v", "/var/run/docker.sock:/var/run/docker.sock"];
    let flags = [&["run", "-d", "--restart", "always", "--name", "isle"], &socket[..]].concat();
    let bound = bind(folder.path(), "/h");
    let tools = bind(&programs(), "/programs:ro");
    home.docker(&[&flags[..], &["-v", &bound, "-v", &tools, "busybox", "sleep", "1000"]].concat()).ok();

    // When it is gone, not before: what it has accepted goes with it.
    end(home.engine().unwrap(), Signal::KILL).unwrap();
    // Its own socket is served by the next one; a request waits for it.
    let line =
        "echo kept > /h/file; /programs/holm-probe ask /var/run/docker.sock 'GET /_ping HTTP/1.0\r\n\r\n'";
    let seen = home.holm(&["exec", "isle", "sh", "-c", line]).ok();
    assert!(seen.starts_with("HTTP/1.0 200"), "{seen}");
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "kept\n");
    // The new engine knows what is shared, and takes it back.
    let listed = || home.holm(&["share", "list", "--format", "{{.Mode}}"]).ok();
    assert_eq!(listed(), "rw\nro\n");

    home.kill("daemon_pid").unwrap();
    home.holm(&["machine", "start"]).ok();
    while home.holm(&["inspect", "-f", "{{.State.Status}}", "isle"]).line() != "running" {}
    let again = home.docker(&["exec", "isle", "cat", "/h/file"]);
    assert_eq!(again.line(), "kept");
    home.docker(&["rm", "-f", "isle"]).ok();
    // The pump tells the host by its end.
    while !listed().is_empty() {}
}

#[test]
fn a_full_disk_of_the_computer_is_told_and_breaks_nothing_else() {
    let (_registry, home) = started(Machine::Process);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    let mount = |program: &str, words: &[&str]| {
        assert!(Command::new(program).args(words).arg(&path).status().unwrap().success(), "{program}");
    };
    mount("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"]);
    let line = "dd if=/dev/zero of=/h/big bs=64k count=64; rm /h/big; echo room > /h/small";
    let seen = shell(&home, &["-v", &bind(folder.path(), "/h")], line);
    let kept = fs::read_to_string(folder.path().join("small"));
    // Nothing of it is open any more when the container's end is told.
    mount("umount", &[]);
    assert!(seen.stderr.contains("No space left on device"), "{seen}");
    assert_eq!(kept.unwrap(), "room\n");
}
