//! What containers reach: the computer's loopback by its name, refusals as refusals, and each other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    the_computers_own_servers_are_reached_by_name,
    containers_reach_each_other,
    a_link_tells_a_container_of_another,
);

fn a_link_tells_a_container_of_another(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "busybox"]).ok();
    let run = |flags: &[&str]| {
        home.docker(&[&["run", "-d", "--init"], flags, &["busybox", "sleep", "1000"]].concat()).ok()
    };
    run(&["--name", "db", "-h", "dbhost", "-e", "COLOUR=red", "--expose", "5432"]);
    run(&["--name", "web", "--link", "db:my-store", "-e", "MY_STORE_ENV_COLOUR=own"]);
    let exec = |line: &str| home.docker(&["exec", "web", "sh", "-c", line]).ok();
    let address = |name: &str| {
        home.docker(&["inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", name]).line()
    };
    let first = address("db");
    assert_eq!(exec("grep my-store /etc/hosts"), format!("{first}\tmy-store dbhost db\n"));
    let variables = "MY_STORE_ENV_COLOUR=own\nMY_STORE_NAME=/web/my-store\n";
    assert_eq!(exec("env | grep -e STORE_ENV -e STORE_NAME | sort"), variables);
    let port = format!("tcp://{first}:5432\n");
    assert_eq!(exec("tr '\\0' '\\n' < /proc/1/environ | grep 5432_TCP= | cut -d= -f2"), port);
    let links = |name: &str| home.docker(&["inspect", "-f", "{{json .HostConfig.Links}}", name]).line();
    assert_eq!(links("web"), r#"["/db:/web/my-store"]"#);
    assert_eq!(links("db"), "null");

    // It comes back with another address, and with another name.
    home.docker(&["stop", "-t", "0", "db"]).ok();
    home.docker(&["create", "--name", "late", "--link", "db", "busybox"]).ok();
    let refused = home.docker(&["start", "late"]).fails_with(1);
    assert!(refused.contains("Cannot link to a non running container: /db AS /late/db"), "{refused}");
    run(&["--name", "squatter"]);
    home.docker(&["start", "db"]).ok();
    let second = address("db");
    assert_ne!(first, second);
    assert_eq!(exec("grep my-store /etc/hosts"), format!("{second}\tmy-store dbhost db\n"));
    home.docker(&["rename", "db", "store"]).ok();
    assert_eq!(links("web"), r#"["/store:/web/my-store"]"#);

    let said = home.docker(&["create", "--link", "nobody", "busybox"]).fails_with(1);
    assert!(said.contains("could not get container for nobody: No such container: nobody"), "{said}");
    home.docker(&["rm", "-f", "web", "late", "store", "squatter"]).ok();
}

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
    // Over IPv6, a server that has nothing else.
    let server = TcpListener::bind("[::1]:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let served = thread::spawn(move || {
        let mut word = [0; 4];
        server.accept().unwrap().0.read_exact(&mut word).unwrap();
        word
    });
    home.holm(&["network", "create", "--ipv6", "six"]).ok();
    let call = format!("echo six | nc fdc4:f303:9324::254 {port}");
    home.holm(&["run", "--rm", "--network", "six", "busybox", "sh", "-c", &call]).ok();
    assert_eq!(&served.join().unwrap(), b"six\n");
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
