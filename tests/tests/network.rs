//! What containers reach: the computer's loopback by its name, refusals as refusals, and each other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(the_computers_own_servers_are_reached_by_name, containers_reach_each_other);

fn the_computers_own_servers_are_reached_by_name(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        // To its end: closing a socket that still has something to read throws away what was written.
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
        stream.write_all(&vec![b'x'; 3 << 20]).unwrap();
    });
    let fetch = format!("wget -q -O - http://host.docker.internal:{port}/ | wc -c");
    assert_eq!(home.holm(&["run", "--rm", "busybox", "sh", "-c", &fetch]).line(), (3 << 20).to_string());
    served.join().unwrap();
    // The same port, and nobody there any more.
    let url = format!("http://host.docker.internal:{port}/");
    let refused = home.holm(&["run", "--rm", "busybox", "wget", "-q", "-O", "-", &url]).fails_with(1);
    assert!(refused.contains("Connection refused"), "{refused}");
    let unknown = home.holm(&["run", "--rm", "busybox", "nslookup", "nobody.invalid"]);
    assert_ne!(unknown.status, 0, "{unknown}");
}

fn containers_reach_each_other(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let listen = "echo waiting; nc -l -p 80 > /heard; cat /heard";
    // With an input that does not end: nc would pass its end on, at which the caller goes, heard or not.
    home.holm(&["run", "-di", "--name", "server", "busybox", "sh", "-c", listen]).ok();
    let address = home.holm(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "server"]).line();
    assert!(address.starts_with("172.17.0."), "{address}");
    // nc may not listen yet when it has said so; a refused try costs nothing.
    let call = format!("until echo over | nc {address} 80; do :; done");
    home.holm(&["run", "--rm", "busybox", "sh", "-c", &call]).ok();
    assert_eq!(home.holm(&["wait", "server"]).line(), "0");
    assert_eq!(home.holm(&["logs", "server"]).ok(), "waiting\nover\n");
}
