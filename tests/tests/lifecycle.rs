//! Containers from their creation to their removal: signals, exit codes, what a user says about a process, and
//! what is left after a restart.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use holm_tests::terminal::run_on_terminal;

on_every_machine!(
    a_container_is_stopped_started_killed_and_removed,
    exit_codes_are_those_of_the_program_or_of_docker,
    a_process_is_what_its_flags_say,
    a_container_and_its_output_survive_a_restart_of_the_machine,
    images_are_listed_tagged_and_removed,
);

/// Ends by itself, with status 3, on SIGTERM.
const POLITE: &str = "trap 'exit 3' TERM; echo up; while :; do sleep 1 & wait $!; done";

fn status(home: &Home, name: &str) -> String {
    home.holm(&["ps", "-a", "--filter", &format!("name={name}"), "--format", "{{.Status}}"]).line()
}

fn a_container_is_stopped_started_killed_and_removed(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let id = home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", POLITE]).line();
    assert!(id.len() == 64 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{id}");
    assert_eq!(home.holm(&["ps", "-q", "--no-trunc"]).line(), id);
    assert!(status(&home, "isle").starts_with("Up "));
    let refused = home.holm(&["rm", "isle"]).fails_with(1);
    assert!(refused.contains("cannot remove container \"isle\": container is running"), "{refused}");

    // Only a program that has set its trap can be polite.
    let mut logs = String::new();
    while logs != "up\n" {
        logs = home.holm(&["logs", "isle"]).ok();
    }
    assert_eq!(home.holm(&["stop", "isle"]).line(), "isle");
    assert!(status(&home, "isle").starts_with("Exited (3) "));
    assert_eq!(home.holm(&["start", "isle"]).line(), "isle");
    assert!(status(&home, "isle").starts_with("Up "));
    assert_eq!(home.holm(&["restart", "-t", "0", &id[..12]]).line(), &id[..12]);
    assert!(status(&home, "isle").starts_with("Up "));
    assert_eq!(home.holm(&["kill", "isle"]).line(), "isle");
    assert_eq!(home.holm(&["wait", "isle"]).line(), "137");
    assert!(status(&home, "isle").starts_with("Exited (137) "));

    assert_eq!(home.holm(&["rm", "isle"]).line(), "isle");
    assert_eq!(home.holm(&["ps", "-aq"]).ok(), "");
    let gone = home.holm(&["start", "isle"]).fails_with(1);
    assert!(gone.contains("No such container: isle"), "{gone}");
}

fn exit_codes_are_those_of_the_program_or_of_docker(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "--rm", "busybox", "true"]).ok();
    home.holm(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]).fails_with(7);
    // Not itself: the kernel shields the first process of a namespace from what it sends to itself.
    home.holm(&["run", "--rm", "busybox", "sh", "-c", "sleep 60 & kill -9 $!; wait $!"]).fails_with(137);
    let error = home.holm(&["run", "--rm", "busybox", "no-such-program"]).fails_with(127);
    assert!(error.contains("exec: \"no-such-program\": executable file not found in $PATH"), "{error}");
    home.holm(&["run", "--rm", "busybox", "/etc/passwd"]).fails_with(126);
    home.holm(&["run", "--no-such-flag", "busybox"]).fails_with(125);
    home.holm(&["run", "--rm", "-u", "nobody-here", "busybox", "true"]).fails_with(125);
    assert_eq!(home.holm(&["ps", "-aq"]).ok(), "", "--rm left something");
}

fn a_process_is_what_its_flags_say(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let run = |flags: &[&str], program: &[&str]| {
        home.holm(&[&["run", "--rm"], flags, &["busybox"], program].concat())
    };
    let script = "echo $A $(pwd) $(id -u):$(id -g) $(hostname)";
    let flags = ["-e", "A=b", "-w", "/tmp", "-u", "user", "--hostname", "isle"];
    assert_eq!(run(&flags, &["sh", "-c", script]).line(), "b /tmp 1000:1000 isle");
    assert_eq!(run(&["--entrypoint", "echo"], &["given"]).line(), "given");
    assert_ne!(run(&["--init"], &["cat", "/proc/1/comm"]).line(), "cat");
    assert!(run(&["--read-only"], &["touch", "/x"]).fails_with(1).contains("Read-only file system"));
    run(&["--label", "a=b"], &["true"]).ok();

    // Input goes in to its end, output comes out apart from errors.
    let input = "x".repeat(300_000);
    assert_eq!(home.holm_with_input(&["run", "-i", "--rm", "busybox", "cat"], input.as_bytes()).ok(), input);
    let both = run(&[], &["sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((both.stdout.as_str(), both.stderr.as_str()), ("out\n", "err\n"));
    let seen =
        run_on_terminal(&home.command(&["run", "--rm", "-it", "busybox", "sh", "-c", "tty; stty size"]));
    assert_eq!((seen.status, seen.stdout.as_str()), (0, "/dev/pts/0\n40 100\n"));

    // Docker's defaults: no more rights than these, and what must not be seen is not.
    let rights = run(&[], &["sh", "-c", "grep CapEff /proc/self/status; cat /proc/kcore | wc -c"]).ok();
    assert_eq!(rights, "CapEff:\t00000000a80425fb\n0\n");
}

fn a_container_and_its_output_survive_a_restart_of_the_machine(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "--name", "isle", "busybox", "sh", "-c", "echo said > /kept; echo heard"]).ok();
    home.holm(&["machine", "restart"]).ok();
    assert!(status(&home, "isle").starts_with("Exited (0) "));
    assert_eq!(home.holm(&["logs", "isle"]).ok(), "heard\n");
    assert_eq!(home.holm(&["start", "-a", "isle"]).ok(), "heard\n");
    assert_eq!(home.holm(&["logs", "isle"]).ok(), "heard\nheard\n");
}

fn images_are_listed_tagged_and_removed(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "hello-world"]).ok();
    let again = home.holm(&["pull", "hello-world"]).ok();
    assert!(again.contains("Status: Image is up to date for hello-world:latest"), "{again}");
    home.holm(&["tag", "hello-world", "mine:1"]).ok();
    let list = home.holm(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
    let mut names: Vec<&str> = list.lines().collect();
    names.sort();
    assert_eq!(names, ["hello-world:latest", "mine:1"]);
    assert_eq!(
        home.holm(&["inspect", "--format", "{{.Config.Cmd}} {{.Architecture}}", "mine:1"]).line(),
        "[/hello] amd64"
    );
    assert_eq!(home.holm(&["history", "-q", "hello-world"]).ok().lines().count(), 1);
    assert_eq!(home.holm(&["rmi", "mine:1"]).line(), "Untagged: mine:1");
    assert!(home.holm(&["rmi", "hello-world"]).ok().contains("Deleted: sha256:"));
    assert_eq!(home.holm(&["images", "-q"]).ok(), "");
}
