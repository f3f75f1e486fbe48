//! What a person sees and does at a terminal: keys that detach, a window that changes its size, Ctrl-C, tables that
//! are drawn again, and several runs at once.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::person::Person;
use holm_tests::samples::ready;

on_every_machine!(a_person_at_a_terminal_gets_what_docker_gives);

fn a_person_at_a_terminal_gets_what_docker_gives(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let at = |words: &[&str]| Person::at(&home.command(words)).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();

    // The container's terminal has the window's size, from the start and after each change.
    let mut person = at(&["run", "-it", "--name", "isle", "--detach-keys", "ctrl-a,d", "busybox", "sh"]);
    person.sees("#").unwrap();
    person.types(b"stty size\r").unwrap();
    person.sees("30 90").unwrap();
    person.resizes(41, 101).unwrap();
    person.types(b"until stty size | grep 101; do :; done\r").unwrap();
    person.sees("\n41 101").unwrap();
    // Ctrl-C is a key for the shell inside.
    person.types(b"(echo slee''ps; sleep 1000)\r").unwrap();
    person.sees("\nsleeps").unwrap();
    person.types(b"\x03").unwrap();
    person.types(b"echo $((20 + 1))\r").unwrap();
    person.sees("\n21").unwrap();
    // The keys end the attachment and not the container.
    person.types(b"\x01d").unwrap();
    let (status, text) = person.leaves().unwrap();
    assert_eq!(status, 0, "{text}");
    assert_eq!(home.holm(&["inspect", "-f", "{{.State.Status}}", "isle"]).line(), "running");
    let mut person = at(&["attach", "isle"]);
    person.types(b"echo $((20 + 3))\r").unwrap();
    person.sees("\n23").unwrap();
    person.types(b"exit 4\r").unwrap();
    assert_eq!(person.leaves().unwrap().0, 4);

    // Without a terminal of its own, a container gets Ctrl-C as a signal.
    let waits = "trap 'echo caught; exit 9' INT; echo waits; while :; do sleep 0.1; done";
    let mut person = at(&["run", "--name", "deaf", "busybox", "sh", "-c", waits]);
    person.sees("waits").unwrap();
    person.types(b"\x03").unwrap();
    person.sees("caught").unwrap();
    assert_eq!(person.leaves().unwrap().0, 9);

    // A table that is drawn again in its place.
    home.holm(&["run", "-d", "--init", "--name", "busy", "busybox", "sleep", "1000"]).ok();
    let mut person = at(&["stats", "busy"]);
    for _ in 0..2 {
        person.sees("\x1b[H").unwrap();
        person.sees("CONTAINER ID").unwrap();
        person.sees("busy").unwrap();
    }
    person.types(b"\x03").unwrap();
    person.leaves().unwrap();

    // Several at once, each with its own output and its own end.
    let runs: Vec<_> = (0..6)
        .map(|number| {
            let script = format!("echo {number}; exit {number}");
            let mut command = home.command(&["run", "--rm", "busybox", "sh", "-c", &script]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for (number, run) in runs.into_iter().enumerate() {
        let output = run.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{number}\n"));
        assert_eq!(output.status.code(), i32::try_from(number).ok());
    }
}
