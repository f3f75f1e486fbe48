//! What a container said, afterwards and while it speaks.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;
use std::process::Stdio;

use holm_tests::command::bounded;
use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    the_ends_times_and_sides_of_a_log_are_kept,
    followers_see_every_line_and_end_with_the_container,
    each_driver_keeps_what_it_says,
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

    // Libraries hand frames to their callers, who take each for a line.
    let path = "/containers/isle/logs?stdout=1&stderr=1";
    let request = Request { method: "GET", host: "docker", path, content_type: None, body: b"" };
    let frames = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap().body;
    let (mut rest, mut lines) = (frames.as_slice(), Vec::new());
    while let Some((head, more)) = rest.split_first_chunk::<8>() {
        let (line, more) = more.split_at(usize::from(head[7]));
        lines.push((head[0], std::str::from_utf8(line).unwrap()));
        rest = more;
    }
    lines.sort_by_key(|(stream, _)| *stream);
    assert_eq!(lines, [(1, "one\n"), (1, "three\n"), (1, "four"), (2, "two\n")]);
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

/// Runs `script` to its end with these wishes about its log.
fn said(home: &Home, name: &str, log: &str, script: &str) {
    let body = format!(
        r#"{{"Image":"busybox","Cmd":["sh","-c",{script:?}],"Env":["MODE=fast"],"Labels":{{"team":"red"}},"HostConfig":{{"LogConfig":{log}}}}}"#
    );
    let request = Request {
        method: "POST",
        host: "docker",
        path: &format!("/containers/create?name={name}"),
        content_type: Some("application/json"),
        body: body.as_bytes(),
    };
    let created = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap();
    assert_eq!(created.status, 201, "{}", created.text());
    home.holm(&["start", name]).ok();
    home.holm(&["wait", name]).ok();
}

fn each_driver_keeps_what_it_says(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    said(&home, "local", r#"{"Type":"local"}"#, "echo kept; echo apart >&2");
    let local = home.holm(&["logs", "local"]);
    assert_eq!((local.stdout.as_str(), local.stderr.as_str()), ("kept\n", "apart\n"));
    said(&home, "none", r#"{"Type":"none"}"#, "echo lost");
    let refused = home.holm(&["logs", "none"]).fails_with(1);
    assert!(refused.contains("configured logging driver does not support reading"), "{refused}");

    // Two files of 10,000 bytes: of 2,000 lines only the last ones are left, in their order.
    let rotated = r#"{"Type":"json-file","Config":{"max-size":"10k","max-file":"2"}}"#;
    said(&home, "rotated", rotated, "seq 1 2000");
    let lines = home.holm(&["logs", "rotated"]).ok();
    let numbers: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert!((100..400).contains(&numbers.len()), "{} lines", numbers.len());
    assert!(numbers.iter().rev().zip((1..=2000).rev()).all(|(number, expected)| *number == expected));
    assert_eq!(home.holm(&["logs", "-n", "3", "rotated"]).ok(), "1998\n1999\n2000\n");

    // Compressed they are read all the same, whole or from their end; the sum of what was kept is contiguous.
    let packed = r#"{"Type":"json-file","Config":{"max-size":"10k","max-file":"3","compress":"true"}}"#;
    said(&home, "packed", packed, "for batch in $(seq 1 40); do seq 100; sleep 0.01; done");
    let lines = home.holm(&["logs", "packed"]).ok();
    let numbers: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.len() > 200 && numbers.windows(2).all(|pair| pair[1] == pair[0] % 100 + 1), "{lines}");
    assert_eq!(numbers.last(), Some(&100));
    let last = home.holm(&["logs", "-n", "150", "packed"]).ok();
    assert!(last.starts_with("51\n52\n") && last.lines().count() == 150, "{last}");

    let detailed = r#"{"Type":"json-file","Config":{"labels":"team","env":"MODE"}}"#;
    said(&home, "detailed", detailed, "echo hello");
    let request = Request {
        method: "GET",
        host: "docker",
        path: "/containers/detailed/logs?stdout=1&details=1",
        content_type: None,
        body: b"",
    };
    let details = exchange(UnixStream::connect(home.socket()).unwrap(), &request).unwrap();
    assert_eq!(&details.body[8..], b"MODE=fast,team=red hello\n");
}
