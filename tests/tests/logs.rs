//! What a container said, afterwards and while it speaks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Stdio;

use holm_tests::command::bounded;
use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    the_ends_times_and_sides_of_a_log_are_kept,
    followers_see_every_line_and_end_with_the_container
);

fn the_ends_times_and_sides_of_a_log_are_kept(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let script = "echo one; echo two >&2; sleep 0.05; echo three; printf four";
    home.holm(&["run", "--name", "isle", "busybox", "sh", "-c", script]).ok();
    let all = home.holm(&["logs", "isle"]);
    assert_eq!((all.stdout.as_str(), all.stderr.as_str()), ("one\nthree\nfour", "two\n"));
    assert_eq!(home.holm(&["logs", "-n", "2", "isle"]).ok(), "three\nfour");
    assert_eq!(home.holm(&["logs", "--tail", "0", "isle"]).ok(), "");

    let dated = home.holm(&["logs", "-t", "isle"]).ok();
    let (first, rest) = dated.split_once(" one\n").unwrap();
    assert!(first.len() == 30 && first.ends_with('Z'), "{dated}");
    let (third, _) = rest.split_once(" three\n").unwrap();
    assert!(first < third, "{dated}");
    assert_eq!(home.holm(&["logs", "--since", third, "isle"]).ok(), "three\nfour");
    assert_eq!(home.holm(&["logs", "--until", first, "isle"]).ok(), "one\n");
    assert_eq!(home.holm(&["logs", "--since", "2100-01-01T00:00:00", "isle"]).ok(), "");
}

fn followers_see_every_line_and_end_with_the_container(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    // It goes on when it is told to, so that something is said while somebody follows.
    let script = "trap 'seq 1 2000; exit 0' USR1; echo ready; while :; do sleep 1 & wait $!; done";
    home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", script]).ok();
    let mut follower = bounded(&home.command(&["logs", "-f", "isle"]));
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(follower.stdout.take().unwrap());
    let mut text = String::new();
    std::io::BufRead::read_line(&mut said, &mut text).unwrap();
    assert_eq!(text, "ready\n");
    home.holm(&["kill", "-s", "USR1", "isle"]).ok();
    std::io::Read::read_to_string(&mut said, &mut text).unwrap();
    assert!(follower.wait().unwrap().success());
    let expected: String = (1..=2000).map(|number| format!("{number}\n")).collect();
    assert_eq!(text, format!("ready\n{expected}"));
}
