//! Published ports, as clients of the computer find them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::registry::Registry;
use holm_tests::samples::{self, for_two_platforms};
use rustix::process::{Signal, kill_process};

/// What is waited for comes at once or never.
const NEVER: Duration = Duration::from_secs(60);

on_every_machine!(
    ports_are_published_in_every_form,
    clients_and_containers_talk_as_if_nothing_were_between_them,
    ports_are_freed_and_come_back,
    thousands_of_connections_are_open_at_once,
    what_listens_on_the_machines_network_is_on_the_computers_loopback,
);

fn ready(machine: Machine) -> (Registry, Home) {
    let (registry, home) = samples::ready(machine).unwrap();
    let image = for_two_platforms(samples::echo().unwrap()).unwrap();
    registry.push_index("library/echo", "latest", &image).unwrap();
    home.holm(&["pull", "-q", "echo"]).ok();
    (registry, home)
}

/// Starts the server and waits until it listens.
fn serve(home: &Home, name: &str, flags: &[&str]) {
    home.holm(&[&["run", "-d", "--name", name], flags, &["echo"]].concat()).ok();
    listens(home, name, 1);
}

/// Waits for the server's word, given once a start.
fn listens(home: &Home, name: &str, starts: usize) {
    while home.holm(&["logs", name]).ok().matches("ready").count() < starts {}
}

/// Where the container's port is to be reached, by `docker port`'s first line or its second.
fn address(home: &Home, name: &str, port: &str, line: usize) -> SocketAddr {
    let text = home.holm(&["port", name, port]).ok();
    let mut address: SocketAddr = text.lines().nth(line).unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { "::1".parse().unwrap() });
    }
    address
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, NEVER).unwrap();
    stream.set_read_timeout(Some(NEVER)).unwrap();
    stream.set_write_timeout(Some(NEVER)).unwrap();
    stream
}

fn read(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn echoes(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    assert!(answer == bytes);
}

/// A number that nobody has.
fn spare() -> u16 {
    TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
}

fn ports_are_published_in_every_form(machine: Machine) {
    let (_registry, home) = ready(machine);
    let (exact, local) = (spare(), spare());
    let forms = [
        format!("{exact}:8"),
        format!("127.0.0.1:{local}:8"),
        "127.0.0.1::9".to_owned(),
        "[::1]::10".to_owned(),
    ];
    let flags: Vec<&str> = forms.iter().flat_map(|form| ["-p", form]).chain(["-P"]).collect();
    serve(&home, "one", &flags);
    // All addresses are those of both families, under one number, random ones too.
    for (port, first) in [
        ("8/tcp", "127.0.0.1"),
        ("7/tcp", "0.0.0.0"),
        ("7/udp", "0.0.0.0"),
        ("9/tcp", "127.0.0.1"),
        ("10/tcp", "[::1]"),
    ] {
        let shown = home.holm(&["port", "one", port]).ok();
        assert!(shown.lines().any(|line| line.starts_with(first)), "{port}: {shown}");
    }
    let random = [0, 1].map(|line| address(&home, "one", "7/tcp", line));
    assert_eq!(random[0].port(), random[1].port());
    for address in random {
        echoes(&mut connect(address), b"hello");
    }
    let gateway = "192.168.65.1";
    assert_eq!(read(connect(([127, 0, 0, 1], exact).into())), gateway);
    assert_eq!(read(connect(("::1".parse::<IpAddr>().unwrap(), exact).into())), gateway);
    assert_eq!(read(connect(([127, 0, 0, 1], local).into())), gateway);

    let listed = home.holm(&["ps", "--format", "{{.Ports}}"]).line();
    for address in ["0.0.0.0", "[::]"] {
        assert!(listed.contains(&format!("{address}:{exact}->8/tcp")), "{listed}");
    }
    let publish = |filter: String| home.holm(&["ps", "-q", "--filter", &filter]).ok().lines().count();
    assert_eq!(publish(format!("publish={exact}")), 1);
    assert_eq!(publish(format!("publish={exact}/udp")), 0);
    assert_eq!(publish("expose=7/udp".to_owned()), 1);
    let template = "{{(index (index .NetworkSettings.Ports \"9/tcp\") 0).HostIp}} {{(index (index .HostConfig.PortBindings \"8/tcp\") 0).HostPort}}";
    let inspected = home.holm(&["inspect", "-f", template, "one"]).line();
    assert!(inspected.starts_with("127.0.0.1 "), "{inspected}");

    let taken =
        home.holm(&["run", "-d", "--name", "two", "-p", &format!("{exact}:7"), "echo"]).fails_with(125);
    assert!(
        taken.contains("failed to set up container networking: driver failed programming external connectivity on endpoint two (")
            && taken.contains(&format!("): Bind for 0.0.0.0:{exact} failed: port is already allocated")),
        "{taken}"
    );
    let state = home.holm(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "two"]).line();
    assert_eq!(state, "created 128");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = other.local_addr().unwrap().port();
    let in_use = home.holm(&["run", "--rm", "-p", &format!("127.0.0.1:{theirs}:7"), "echo"]).fails_with(125);
    assert!(
        in_use.contains(&format!("failed to bind host port for 127.0.0.1:{theirs}:"))
            && in_use.contains(":7/tcp: address already in use"),
        "{in_use}"
    );
    let range = format!("{exact}-{}:7", exact.saturating_add(50));
    serve(&home, "three", &["-p", &range]);
    assert_ne!(address(&home, "three", "7/tcp", 0).port(), exact);
    let sctp = home.holm(&["create", "-p", "7:7/sctp", "echo"]).fails_with(1);
    assert!(sctp.contains("cannot publish SCTP ports"), "{sctp}");
}

fn clients_and_containers_talk_as_if_nothing_were_between_them(machine: Machine) {
    let (_registry, home) = ready(machine);
    serve(&home, "echo", &["-p", "7", "-p", "9", "-p", "10", "-p", "11", "-p", "127.0.0.1::7/udp"]);
    let at = |port| address(&home, "echo", port, 0);
    // A half-close: the question ends, the answer comes.
    let data: Vec<u8> = (0..3_000_000u32).map(|number| (number >> 3) as u8).collect();
    let mut stream = connect(at("7/tcp"));
    let mut writer = stream.try_clone().unwrap();
    let sent = data.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == data);
    writing.join().unwrap();
    // A reset.
    let mut stream = connect(at("9/tcp"));
    stream.write_all(b"x").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    // Nobody listens inside: the connection that the computer took is reset.
    // Sometimes so soon that connecting itself says so.
    let said = TcpStream::connect_timeout(&at("11/tcp"), NEVER).and_then(|mut stream| stream.read(&mut [0]));
    assert_eq!(said.unwrap_err().kind(), ErrorKind::ConnectionReset);
    // Back-pressure.
    let mut stream = connect(at("10/tcp"));
    stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut taken = 0;
    let full = loop {
        match stream.write(&data) {
            Ok(count) => taken += count,
            Err(error) => break error,
        }
        assert!(taken < 64 << 20, "{taken} bytes were taken for a container that reads none");
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    // Datagrams, of two clients, small and larger than any wire takes.
    let clients = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    for (number, client) in clients.iter().enumerate() {
        client.set_read_timeout(Some(NEVER)).unwrap();
        client.connect(at("7/udp")).unwrap();
        let message = vec![number as u8; 1 + number * 20_000];
        client.send(&message).unwrap();
        let mut answer = vec![0; 64 << 10];
        let count = client.recv(&mut answer).unwrap();
        assert!(answer[..count] == message);
    }
}

fn ports_are_freed_and_come_back(machine: Machine) {
    let (_registry, home) = ready(machine);
    let port = spare();
    serve(
        &home,
        "echo",
        &["-p", &format!("{port}:7"), "-p", &format!("{port}:7/udp"), "--restart", "always"],
    );
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    let free = || TcpListener::bind(("0.0.0.0", port)).is_ok() && UdpSocket::bind(("0.0.0.0", port)).is_ok();
    // An engine that was killed leaves everything as it is, an open connection too.
    if machine == Machine::Process {
        let mut stream = connect(here);
        echoes(&mut stream, b"before");
        kill_process(home.engine().unwrap(), Signal::KILL).unwrap();
        echoes(&mut stream, b"meanwhile");
        // The first command that is answered finds the new one.
        while home.holm(&["ps", "-q"]).status != 0 {}
        echoes(&mut stream, b"after");
        echoes(&mut connect(here), b"anew");
        assert_eq!(address(&home, "echo", "7/tcp", 0).port(), port);
    }
    // A daemon that stood still, as on a computer that slept: who came before and who came meanwhile is served.
    let mut before = connect(here);
    echoes(&mut before, b"awake");
    let daemon = home.process("daemon_pid").unwrap();
    kill_process(daemon, Signal::STOP).unwrap();
    let mut meanwhile = connect(here);
    meanwhile.write_all(b"asleep").unwrap();
    kill_process(daemon, Signal::CONT).unwrap();
    let mut answer = [0; 6];
    meanwhile.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"asleep");
    echoes(&mut before, b"awake again");
    home.holm(&["pause", "echo"]).ok();
    let paused = connect(here);
    assert!(!free());
    home.holm(&["unpause", "echo"]).ok();
    let mut paused = paused;
    echoes(&mut paused, b"was paused");
    home.holm(&["stop", "-t", "0", "echo"]).ok();
    assert!(matches!(paused.read(&mut [0]), Ok(0) | Err(_)), "still open");
    assert!(free());
    home.holm(&["start", "echo"]).ok();
    listens(&home, "echo", 2);
    echoes(&mut connect(here), b"again");
    home.holm(&["machine", "restart"]).ok();
    while home.holm(&["logs", "echo"]).ok().matches("ready").count() < 3 {}
    echoes(&mut connect(here), b"after the machine");
    // Another program takes the port while the machine is off: the container says so, and starts when it is free.
    home.holm(&["machine", "stop"]).ok();
    let other = TcpListener::bind(("0.0.0.0", port)).unwrap();
    home.holm(&["machine", "start"]).ok();
    // The engine answers before its restart policies are done.
    let end = Instant::now() + NEVER;
    loop {
        let state = home.holm(&["inspect", "-f", "{{.State.Running}} {{.State.Error}}", "echo"]).line();
        if state.starts_with("false ") && state.ends_with("address already in use") {
            break;
        }
        assert!(Instant::now() < end, "{state}");
    }
    let refused = home.holm(&["start", "echo"]).fails_with(1);
    assert!(refused.contains(&format!("failed to bind host port for 0.0.0.0:{port}:")), "{refused}");
    drop(other);
    home.holm(&["start", "echo"]).ok();
    while home.holm(&["logs", "echo"]).ok().matches("ready").count() < 4 {}
    echoes(&mut connect(here), b"taken back");
    home.holm(&["rm", "-f", "echo"]).ok();
    assert!(free());
}

fn thousands_of_connections_are_open_at_once(machine: Machine) {
    let (_registry, home) = ready(machine);
    serve(&home, "echo", &["-p", "127.0.0.1::7"]);
    let address = address(&home, "echo", "7/tcp", 0);
    // Under emulation each takes a while.
    let many = if machine == Machine::Process { 5_000 } else { 1_200 };
    let mut streams: Vec<_> = (0..many).map(|_| connect(address)).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(&(number as u32).to_be_bytes()).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_be_bytes(answer), number as u32);
    }
}

fn what_listens_on_the_machines_network_is_on_the_computers_loopback(machine: Machine) {
    let (_registry, home) = ready(machine);
    // Numbers that nobody has, below those that systems give to clients.
    let is_free = |base: &u16| (*base + 7..*base + 11).all(|port| TcpListener::bind(("::", port)).is_ok());
    let mut bases = (10_000 + spare() % 1_000 * 20..32_000).step_by(20).filter(is_free);
    let (one, two) = (bases.next().unwrap(), bases.next().unwrap());
    let until = |what: &str, happens: &dyn Fn() -> bool| {
        let end = Instant::now() + NEVER;
        while !happens() {
            assert!(Instant::now() < end, "{what}");
            home.holm(&["ps", "-q"]).ok();
        }
    };
    let here = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let taken = TcpListener::bind(here(one + 10)).unwrap();
    home.holm(&["run", "-d", "--name", "one", "--network", "host", "echo", "/echo", &one.to_string()]).ok();
    let theirs = ["--name", "two", "--network", "container:one", "echo", "/echo"];
    home.holm(&[&["run", "-d"], &theirs[..], &[&two.to_string()]].concat()).ok();
    for base in [one, two] {
        until("nothing listens here", &|| TcpStream::connect(here(base + 7)).is_ok());
        echoes(&mut connect(here(base + 7)), b"hello");
        echoes(&mut connect(("::1".parse::<IpAddr>().unwrap(), base + 7).into()), b"hello");
        assert_eq!(read(connect(here(base + 8))), "192.168.65.1");
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(NEVER)).unwrap();
        client.send_to(b"hello", here(base + 7)).unwrap();
        let mut answer = [0; 8];
        assert_eq!(client.recv(&mut answer).unwrap(), 5);
    }
    // What another program has stays its own.
    let mut client = connect(here(one + 10));
    taken.accept().unwrap().0.write_all(b"mine").unwrap();
    let mut word = [0; 4];
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"mine");
    // The machine's network is still that of the other one.
    home.holm(&["rm", "-f", "one"]).ok();
    until("it stays", &|| TcpListener::bind(("0.0.0.0", one + 7)).is_ok());
    echoes(&mut connect(here(two + 7)), b"hello");
    home.holm(&["rm", "-f", "two"]).ok();
    let freed =
        || TcpListener::bind(("0.0.0.0", two + 7)).is_ok() && UdpSocket::bind(("::1", two + 7)).is_ok();
    until("it stays", &freed);
}
