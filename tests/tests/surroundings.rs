//! Networks of a `process` machine on a computer that is not as it was, or not as most are: its name server is
//! another one after it slept, its kernel has no packet filter.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use holm_tests::command::{Ran, run};
use holm_tests::home::{Home, Machine};
use holm_tests::samples::{self, for_two_platforms, ready};
use rustix::process::{Signal, kill_process};

/// What is waited for comes soon or never.
const NEVER: Duration = Duration::from_secs(60);
/// Puts the file $0 in the place of the computer's own, for one command and what it starts.
const WITH_RESOLV_CONF: &str = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
/// Refuses sockets of NETLINK_NETFILTER to a command and what it starts, as a kernel without nf_tables does.
const WITHOUT_NF_TABLES: &str = r#"
import ctypes, os, struct, sys
load, equal, answer = 0x20, 0x15, 0x06
socket = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
steps = [
    (load, 0, 0, 0), (equal, 0, 5, socket),
    (load, 0, 0, 16), (equal, 0, 3, 16),
    (load, 0, 0, 32), (equal, 0, 1, 12),
    (answer, 0, 0, 0x00050000 | 93), (answer, 0, 0, 0x7fff0000),
]
steps = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 8, ctypes.addressof(steps)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, ctypes.c_ulong(2), program, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
"#;

/// Runs `holm` behind another command.
fn behind(home: &Home, wrapper: &[&str], arguments: &[&str]) -> Ran {
    let inner = home.command(arguments);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    run(command, b"")
}

fn until(what: &str, mut happens: impl FnMut() -> bool) {
    let end = Instant::now() + NEVER;
    while !happens() {
        assert!(Instant::now() < end, "{what}");
    }
}

fn echoes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.set_read_timeout(Some(NEVER)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == bytes);
}

/// A server of DNS to whom every name has one address.
struct NameServer {
    at: Ipv4Addr,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    fn start(at: Ipv4Addr, answer: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((at, 53)).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((count, from)) = socket.recv_from(&mut bytes) {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let _ = socket.send_to(&reply(&bytes[..count], answer), from);
            }
        });
        Self { at, ends, thread: Some(thread) }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = UdpSocket::bind((self.at, 0)).and_then(|socket| socket.send_to(b"end", (self.at, 53)));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The question again, and `answer` where it is for an IPv4 address.
fn reply(query: &[u8], answer: Ipv4Addr) -> Vec<u8> {
    let name = query[12..].iter().position(|byte| *byte == 0).unwrap();
    let question = &query[12..12 + name + 5];
    let is_v4 = question[name + 1..name + 3] == [0, 1];
    let mut reply = [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::from(is_v4), 0, 0, 0, 0], question].concat();
    if is_v4 {
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        reply.extend(answer.octets());
    }
    reply
}

#[test]
fn a_computer_that_slept_and_woke_elsewhere_is_followed() {
    let (registry, home) = ready(Machine::Process).unwrap();
    let image = for_two_platforms(samples::echo().unwrap()).unwrap();
    registry.push_index("library/echo", "latest", &image).unwrap();
    // Addresses of this test's own.
    let [.., high, low] = std::process::id().to_be_bytes();
    let [office, hotel] = [77, 78].map(|second| Ipv4Addr::new(127, second, high, low.max(1)));
    let conf = home.path().join("resolv.conf");
    fs::write(&conf, format!("nameserver {office}\n")).unwrap();
    let at_office = NameServer::start(office, Ipv4Addr::new(10, 1, 1, 1));
    let _at_hotel = NameServer::start(hotel, Ipv4Addr::new(10, 2, 2, 2));
    let wrapper = ["unshare", "--mount", "--propagation", "private", "sh", "-c", WITH_RESOLV_CONF];
    let wrapper = [&wrapper[..], &[conf.to_str().unwrap()]].concat();
    behind(&home, &wrapper, &["machine", "start"]).ok();
    home.holm(&["run", "-d", "--name", "echo", "-p", "127.0.0.1::7", "echo"]).ok();
    home.holm(&["run", "-d", "--init", "--name", "shell", "busybox", "sleep", "1000"]).ok();
    let asked = || {
        let ran = home.holm(&["exec", "shell", "nslookup", "-type=a", "printer.example"]);
        ran.stdout
    };
    until("the first name server is asked", || asked().contains("10.1.1.1"));
    let port: SocketAddr = home.holm(&["port", "echo", "7/tcp"]).line().parse().unwrap();
    until("the container listens", || home.holm(&["logs", "echo"]).ok().contains("ready"));
    let mut before = TcpStream::connect(port).unwrap();
    echoes(&mut before, b"awake");

    let daemon = home.process("daemon_pid").unwrap();
    kill_process(daemon, Signal::STOP).unwrap();
    fs::write(&conf, format!("nameserver {hotel}\n")).unwrap();
    drop(at_office);
    kill_process(daemon, Signal::CONT).unwrap();

    until("the new name server is asked", || asked().contains("10.2.2.2"));
    echoes(&mut before, b"awake again");
    echoes(&mut TcpStream::connect(port).unwrap(), b"anew");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let call = format!("echo out | nc host.docker.internal {}", server.local_addr().unwrap().port());
    let heard = std::thread::spawn(move || {
        let mut word = [0; 4];
        server.accept().unwrap().0.read_exact(&mut word).unwrap();
        word
    });
    home.holm(&["exec", "shell", "sh", "-c", &call]).ok();
    assert_eq!(&heard.join().unwrap(), b"out\n");
}

#[test]
fn without_nf_tables_networks_work_and_say_what_they_do_not_keep_apart() {
    let (_registry, home) = ready(Machine::Process).unwrap();
    let wrapper = ["python3", "-c", WITHOUT_NF_TABLES];
    behind(&home, &wrapper, &["machine", "start"]).ok();
    let made = home.holm(&["network", "create", "apart"]);
    assert_eq!(made.status, 0, "{made}");
    assert!(made.stderr.contains("This machine's kernel has no nf_tables"), "{made}");
    let run = |name: &str, network: &str| {
        home.holm(&["run", "-d", "--init", "--name", name, "--network", network, "busybox", "sleep", "1000"])
            .ok();
    };
    run("web", "apart");
    run("peer", "apart");
    run("stranger", "bridge");
    let exec = |name: &str, line: &str| home.holm(&["exec", name, "sh", "-c", line]);
    // Names need no rule: the server listens on the port itself.
    exec("peer", "nslookup web 127.0.0.11 && ping -c 1 web").ok();
    exec("peer", "nslookup host.docker.internal").ok();
    let format = "{{.NetworkSettings.Networks.apart.IPAddress}}";
    let web = home.holm(&["inspect", "-f", format, "web"]).line();
    // As the warning says.
    exec("stranger", &format!("ping -c 1 {web}")).ok();
    let removed = home.holm(&["network", "rm", "apart"]).fails_with(1);
    assert!(removed.contains("has active endpoints"), "{removed}");
    home.holm(&["rm", "-f", "web", "peer", "stranger"]).ok();
    home.holm(&["network", "rm", "apart"]).ok();
}
