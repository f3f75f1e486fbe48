//! Clients attached to a container: several at once, with what was said before, by WebSocket, and slow ones.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    all_clients_read_the_same_and_any_may_write,
    what_was_said_before_comes_first_if_it_is_asked_for,
    a_busy_writers_log_and_words_are_one_text,
    keys_detach_a_client_and_leave_the_container,
    a_websocket_carries_bytes_both_ways,
    a_client_that_does_not_read_hinders_no_other_request,
);

/// A client that is attached, and what it has read of its head.
struct Client {
    stream: UnixStream,
}

impl Client {
    /// Asks for `path` with these headers, and reads the head of the answer.
    fn of(home: &Home, method: &str, path: &str, headers: &str) -> (Self, String) {
        let mut stream = UnixStream::connect(home.socket()).unwrap();
        write!(stream, "{method} /v1.44{path} HTTP/1.1\r\nHost: docker\r\n{headers}\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        (Self { stream }, String::from_utf8(head).unwrap())
    }

    fn attached(home: &Home, name: &str, more: &str) -> Self {
        let path = format!("/containers/{name}/attach?stream=1&stdin=1&stdout=1&stderr=1{more}");
        Self::of(home, "POST", &path, "Connection: Upgrade\r\nUpgrade: tcp\r\n").0
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn read_to_end(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }
}

fn frame(channel: u8, text: &str) -> Vec<u8> {
    [&[channel, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// What frames hold: standard output, standard error.
fn said(mut bytes: &[u8]) -> [String; 2] {
    let mut texts = [String::new(), String::new()];
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        texts[usize::from(head[0]) - 1].push_str(std::str::from_utf8(&rest[..length]).unwrap());
        bytes = &rest[length..];
    }
    texts
}

fn all_clients_read_the_same_and_any_may_write(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "-di", "--name", "isle", "busybox", "cat"]).ok();
    let mut clients: Vec<_> = (0..3).map(|_| Client::attached(&home, "isle", "")).collect();
    for writer in 0..clients.len() {
        clients[writer].stream.write_all(b"hello\n").unwrap();
        for reader in &mut clients {
            assert_eq!(reader.read(14), frame(1, "hello\n"));
        }
    }
    // Its input is open for whoever comes, so the end of one client's is not its end.
    clients[0].stream.shutdown(Shutdown::Write).unwrap();
    clients.remove(1);
    clients[1].stream.write_all(b"again\n").unwrap();
    for reader in &mut clients {
        assert_eq!(reader.read(14), frame(1, "again\n"));
    }
    home.holm(&["kill", "isle"]).ok();
    for reader in clients {
        assert_eq!(reader.read_to_end(), b"");
    }
}

fn what_was_said_before_comes_first_if_it_is_asked_for(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let script = "echo before; echo no >&2; printf 'half '; read line; echo $line";
    home.holm(&["run", "-di", "--name", "isle", "busybox", "sh", "-c", script]).ok();
    while home.holm(&["logs", "isle"]).ok().is_empty() {}
    let mut later = Client::attached(&home, "isle", "");
    let logs = Client::attached(&home, "isle", "&logs=1");
    later.stream.write_all(b"after\n").unwrap();
    assert!(said(&later.read_to_end())[0].ends_with("after\n"));
    // A line that goes on when the client comes is whole as well.
    assert_eq!(said(&logs.read_to_end()), ["before\nhalf after\n", "no\n"]);
    // The end of the container does not take its words back.
    let path = "/containers/isle/attach?logs=1&stdout=1";
    let (only_logs, _) = Client::of(&home, "POST", path, "Connection: Upgrade\r\nUpgrade: tcp\r\n");
    assert_eq!(said(&only_logs.read_to_end()), ["before\nhalf after\n", ""]);
    // Before a start, what an earlier run said is there at once, and what the next one says comes after it.
    let mut early = Client::attached(&home, "isle", "&logs=1");
    assert_eq!(early.read(15), frame(1, "before\n"));
    home.holm(&["start", "isle"]).ok();
    early.stream.write_all(b"again\n").unwrap();
    assert_eq!(said(&early.read_to_end()), ["half after\nbefore\nhalf again\n", "no\nno\n"]);
}

/// Its log is rotated many times while it is read.
fn a_busy_writers_log_and_words_are_one_text(machine: Machine) {
    const LINES: usize = 20_000;
    let (_registry, home) = ready(machine).unwrap();
    let script = "i=0; while :; do i=$((i+1)); echo $i; done";
    let kept = ["--log-opt", "max-size=200k", "--log-opt", "max-file=3"];
    let run = ["run", "-d", "--name", "isle"];
    home.holm(&[run.as_slice(), &kept, &["busybox", "sh", "-c", script]].concat()).ok();
    for _ in 0..5 {
        let mut client = Client::attached(&home, "isle", "&logs=1");
        let (mut text, mut lines) = (Vec::new(), 0);
        while lines < LINES {
            let head: [u8; 8] = client.read(8).try_into().unwrap();
            let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
            let piece = client.read(length);
            lines += piece.iter().filter(|byte| **byte == b'\n').count();
            text.extend(piece);
        }
        let text = String::from_utf8(text).unwrap();
        let whole = text.rsplit_once('\n').unwrap().0;
        let numbers: Vec<u64> = whole.lines().map(|line| line.parse().unwrap()).collect();
        let broken = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
        assert_eq!(broken, None, "of {} to {:?}", numbers[0], numbers.last());
    }
}

fn keys_detach_a_client_and_leave_the_container(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "-dit", "--name", "isle", "busybox", "cat"]).ok();
    for (more, keys) in [("", b"\x10\x11".as_slice()), ("&detachKeys=ctrl-x,x", b"\x18x")] {
        let mut client = Client::attached(&home, "isle", more);
        client.stream.write_all(b"a").unwrap();
        assert_eq!(client.read(1), b"a");
        client.stream.write_all(keys).unwrap();
        assert_eq!(client.read_to_end(), b"");
    }
    assert_eq!(home.docker(&["inspect", "-f", "{{.State.Running}}", "isle"]).line(), "true");
    home.docker(&["pause", "isle"]).ok();
    let (refused, head) =
        Client::of(&home, "POST", "/containers/isle/attach?stream=1", "Connection: close\r\n");
    assert!(head.starts_with("HTTP/1.1 409 "), "{head}");
    let words = String::from_utf8(refused.read_to_end()).unwrap();
    assert!(words.contains("container isle is paused, unpause the container before attach"), "{words}");
    home.docker(&["rm", "-f", "isle"]).ok();
}

/// A short binary message of a client, which has to be masked.
fn message(text: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let head = [0x82, 0x80 | u8::try_from(text.len()).unwrap()];
    let masked: Vec<u8> = text.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    [head.as_slice(), &mask, &masked].concat()
}

fn a_websocket_carries_bytes_both_ways(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "-di", "--name", "isle", "busybox", "sh", "-c", "read line; echo got $line >&2"]).ok();
    let path = "/containers/isle/attach/ws?stream=1&stdin=1&stdout=1&stderr=1";
    let (_, refused) = Client::of(&home, "GET", path, "Connection: close\r\n");
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let (mut client, head) = Client::of(&home, "GET", path, headers);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    client.stream.write_all(&message(b"hi\n")).unwrap();
    assert_eq!(client.read(9), b"\x82\x07got hi\n");
    assert_eq!(client.read(2)[0], 0x88, "it is closed when the container has ended");
}

fn a_client_that_does_not_read_hinders_no_other_request(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["create", "-i", "--log-driver", "none", "--name", "isle", "busybox", "yes"]).ok();
    let mut silent = Client::attached(&home, "isle", "");
    home.holm(&["start", "isle"]).ok();
    silent.read(8);
    assert_eq!(home.docker(&["exec", "isle", "echo", "here"]).line(), "here");
    assert_eq!(home.docker(&["ps", "-q"]).ok().lines().count(), 1);
    home.docker(&["kill", "isle"]).ok();
    assert_eq!(home.docker(&["wait", "isle"]).line(), "137");
    assert!(!silent.read_to_end().is_empty());
}

/// On `process`, where the processes can be seen from here.
#[test]
fn output_through_a_slow_reader_takes_no_memory_and_loses_nothing() {
    const LENGTH: usize = 1 << 30;
    let (_registry, home) = ready(Machine::Process).unwrap();
    // It lives on, and its shim with it, until both have been looked at.
    let script = format!("head -c {LENGTH} /dev/zero; exec sleep 1000");
    home.holm(&["create", "--log-driver", "none", "--name", "isle", "busybox", "sh", "-c", &script]).ok();
    let mut client = Client::attached(&home, "isle", "");
    home.holm(&["start", "isle"]).ok();
    let first = home.docker(&["inspect", "-f", "{{.State.Pid}} {{.Id}}", "isle"]).line();
    let id = first.split(' ').nth(1).unwrap().to_owned();
    let keepers = [home.engine().unwrap().as_raw_nonzero().get(), shim_of(&id)];
    let before = keepers.map(most_memory);

    // Everything between here and the container is full by now, or will be: nobody waits for this client.
    let (mut total, mut frames) = (0, 0);
    while total < LENGTH {
        let head = client.read(8);
        let length = u32::from_be_bytes(head[4..].try_into().unwrap()) as usize;
        assert!(client.read(length).iter().all(|byte| *byte == 0));
        total += length;
        frames += 1;
        if frames % 1000 == 1 {
            // Slow: something else is waited for in between.
            home.docker(&["exec", "isle", "true"]);
        }
    }
    for (process, before) in keepers.into_iter().zip(before) {
        let grown = most_memory(process).saturating_sub(before);
        assert!(grown < 8 << 10, "{process} has grown by {grown} KiB");
    }
    home.holm(&["kill", "isle"]).ok();
    assert_eq!((total, client.read_to_end().len()), (LENGTH, 0));
}

/// The largest that a process has been, in KiB.
fn most_memory(process: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn shim_of(container: &str) -> i32 {
    let is_shim = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("\0shim\0") && line.contains(container)
    };
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find(is_shim).expect("the container has a shim")
}
