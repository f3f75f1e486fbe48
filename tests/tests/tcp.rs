//! The Engine API over TCP: with Holm's certificates, and in the open for programs that are no web pages.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(clients_with_the_certificate_are_served, web_pages_are_refused, a_taken_port_is_named);

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn clients_with_the_certificate_are_served(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let host = format!("tcp://127.0.0.1:{}", free_port());
    home.add(&format!("listen-tcp = {:?}", host.trim_start_matches("tcp://"))).unwrap();
    home.holm(&["machine", "start"]).ok();

    let folder = home.path().join("tls");
    let file = |name: &str| folder.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let with = ["--tlsverify", "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
    let docker = |arguments: &[&str]| home.docker_at(&host, &[&with, arguments].concat());
    assert_eq!(docker(&["run", "--rm", "busybox", "echo", "far"]).ok(), "far\n");
    // What the client sends ends before what it gets does.
    let mut piped = std::process::Command::new("sh");
    piped.arg("-c").arg(format!(
        "echo through | docker -H {host} {} run -i --rm busybox cat",
        with.map(|word| format!("'{word}'")).join(" ")
    ));
    assert_eq!(String::from_utf8_lossy(&piped.output().unwrap().stdout), "through\n");

    // By our own client too, with the variables that Docker has, and with half of the stream closed.
    let mut ours = home.command(&["-H", &host, "run", "-i", "--rm", "busybox", "cat"]);
    ours.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", &folder);
    assert_eq!(holm_tests::command::run(ours, b"through").ok(), "through");
    let stranger = home.holm(&["-H", &host, "--tls", "--tlscacert", &ca, "ps"]).fails_with(1);
    assert!(stranger.starts_with("error during connect: "), "{stranger}");

    let stranger = home.docker_at(&host, &["--tls", "--tlscacert", &ca, "version"]).fails_with(1);
    assert!(stranger.contains("certificate required"), "{stranger}");
    home.docker_at(&host, &["version"]).fails_with(1);
}

fn web_pages_are_refused(machine: Machine) {
    let home = Home::new(machine, &[]).unwrap();
    let port = free_port();
    home.add(&format!("listen-tcp-insecure = \"localhost:{port}\"")).unwrap();
    home.holm(&["machine", "start"]).ok();
    assert_eq!(
        home.docker_at(&format!("tcp://localhost:{port}"), &["info", "--format", "{{.OSType}}"]).line(),
        "linux"
    );

    let asked = |headers: &str| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        write!(stream, "GET /v1.44/info HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(asked(&format!("Host: 127.0.0.1:{port}\r\n")).starts_with("HTTP/1.1 200 "));
    let page = asked(&format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"));
    assert!(page.starts_with("HTTP/1.1 403 ") && page.contains("web pages"), "{page}");
    let rebound = asked(&format!("Host: evil.example:{port}\r\n"));
    assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
}

fn a_taken_port_is_named(machine: Machine) {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = Home::new(machine, &[]).unwrap();
    home.add(&format!("listen-tcp-insecure = {address:?}")).unwrap();
    let error = home.holm(&["ps"]).fails_with(1);
    assert!(error.contains(&address) && error.contains("Address already in use"), "{error}");
}
