//! User-defined networks: who reaches whom, by which name, and what is left after an engine was killed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;
use std::thread;

use holm_tests::home::{Home, Machine, end};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use serde_json::{Value, json};

on_every_machine!(
    containers_find_each_other_by_name_and_only_on_their_own_networks,
    networks_come_and_go_as_dockers_do,
    addresses_are_handed_out_once,
);

/// Runs a command in a container.
fn exec(home: &Home, container: &str, command: &str) -> holm_tests::command::Ran {
    home.holm(&["exec", container, "sh", "-c", command])
}

fn address(home: &Home, container: &str, network: &str) -> String {
    let format = format!("{{{{(index .NetworkSettings.Networks {network:?}).IPAddress}}}}");
    home.holm(&["inspect", "-f", &format, container]).line()
}

fn containers_find_each_other_by_name_and_only_on_their_own_networks(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    for options in [&["--ipv6", "front"][..], &["back"], &["--internal", "inner"]] {
        home.holm(&[&["network", "create"], options].concat()).ok();
    }
    let run = |name: &str, network: &str, options: &[&str]| {
        let tail = ["busybox", "sleep", "1000"];
        home.holm(&[&["run", "-d", "--name", name, "--network", network], options, &tail].concat()).ok();
    };
    run("web", "front", &["--network-alias", "site"]);
    run("web2", "front", &["--network-alias", "site"]);
    run("db", "back", &[]);
    run("hermit", "inner", &[]);
    run("friend", "inner", &[]);

    let resolv = exec(&home, "web", "cat /etc/resolv.conf").ok();
    assert_eq!(resolv, "nameserver 127.0.0.11\noptions ndots:0\n");
    let web = address(&home, "web", "front");
    let both = exec(&home, "web", "nslookup site 127.0.0.11; nslookup site. 127.0.0.11").ok();
    for own in [&web, &address(&home, "web2", "front")] {
        assert!(both.contains(own.as_str()), "{both}");
    }
    let six = exec(&home, "web2", "nslookup -type=aaaa web.front 127.0.0.11").ok();
    assert!(six.contains("fd"), "{six}");
    let reverse = exec(&home, "web2", &format!("nslookup {web} 127.0.0.11")).ok();
    assert!(reverse.contains("web.front"), "{reverse}");
    exec(&home, "web2", "ping -c 1 web && ping -6 -c 1 web").ok();
    let id = home.holm(&["inspect", "-f", "{{slice .Id 0 12}}", "web"]).line();
    exec(&home, "web2", &format!("ping -c 1 {id}")).ok();
    // What is not ours, the computer knows, or nobody.
    exec(&home, "web", "nslookup host.docker.internal").ok();
    assert_ne!(exec(&home, "web", "nslookup db").status, 0);
    assert_ne!(exec(&home, "web", "nslookup nobody.invalid").status, 0);

    // Not even by its address, nor out of an internal network.
    let db = address(&home, "db", "back");
    assert_ne!(exec(&home, "web", &format!("ping -c 1 -W 1 {db}")).status, 0);
    exec(&home, "hermit", "ping -c 1 friend").ok();
    assert_ne!(exec(&home, "hermit", "ping -c 1 -W 1 192.168.65.1").status, 0);
    assert_ne!(exec(&home, "hermit", "nslookup host.docker.internal").status, 0);
    exec(&home, "web", "ping -c 1 192.168.65.1").ok();

    // A container may be a name server itself.
    home.holm(&["exec", "-d", "web", "nc", "-l", "-p", "53"]).ok();
    exec(&home, "web", "until netstat -ltn | grep -q ':::53 \\|0.0.0.0:53 '; do :; done; nslookup web2").ok();

    // Another network while it runs, under another name, and off again.
    home.holm(&["network", "connect", "--alias", "store", "front", "db"]).ok();
    exec(&home, "web", "ping -c 1 store").ok();
    assert!(exec(&home, "db", "cat /etc/hosts").ok().contains(&address(&home, "db", "front")));
    home.holm(&["rename", "db", "database"]).ok();
    exec(&home, "web", "ping -c 1 database").ok();
    home.holm(&["network", "disconnect", "front", "database"]).ok();
    assert_ne!(exec(&home, "web", "nslookup store").status, 0);
    assert_ne!(exec(&home, "web", &format!("ping -c 1 -W 1 {db}")).status, 0);

    if machine == Machine::Process {
        // What runs goes on, and its names are served again.
        let engine = home.engine().unwrap();
        end(engine, rustix::process::Signal::KILL).unwrap();
        home.holm(&["ps"]).ok();
        exec(&home, "web", "ping -c 1 web2").ok();
        assert_eq!(address(&home, "web", "front"), web);
        assert_ne!(exec(&home, "web", &format!("ping -c 1 -W 1 {db}")).status, 0);
    }
}

fn ask(home: &Home, method: &str, path: &str, body: &Value) -> Response {
    let stream = UnixStream::connect(home.socket()).unwrap();
    let bytes = body.to_string();
    let request = Request {
        method,
        host: "localhost",
        path,
        content_type: Some("application/json"),
        body: bytes.as_bytes(),
    };
    exchange(stream, &request).unwrap()
}

fn networks_come_and_go_as_dockers_do(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    let refused = |body: Value| {
        let answer = ask(&home, "POST", "/networks/create", &body);
        let told: Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, told["message"].as_str().unwrap_or_default().to_owned())
    };
    let made = json!({
        "Name": "mine", "Labels": { "of": "tests" }, "Options": { "com.docker.network.driver.mtu": "1400" },
        "IPAM": { "Config": [{ "Subnet": "10.77.0.0/24", "Gateway": "10.77.0.254",
                               "AuxiliaryAddresses": { "router": "10.77.0.1" } }] },
    });
    assert_eq!(ask(&home, "POST", "/networks/create", &made).status, 201);
    assert_eq!(refused(made.clone()), (409, "network with name mine already exists".to_owned()));
    assert_eq!(
        refused(json!({ "Name": "bridge" })),
        (403, "operation is not permitted on predefined bridge network ".to_owned())
    );
    for hostile in [
        json!({ "Name": "x", "IPAM": { "Config": [{ "Subnet": "10.77.0.0/99" }] } }),
        json!({ "Name": "x", "IPAM": { "Config": [{ "Subnet": "10.77.0.0/25" }] } }),
        json!({ "Name": "x", "IPAM": { "Config": "everything" } }),
        json!({ "Name": "x", "Options": { "com.docker.network.bridge.name": "../../etc" } }),
        json!({ "Name": "x", "Options": { "com.docker.network.bridge.name": "holm0" } }),
        json!({ "Name": "x", "Driver": "macvlan" }),
        json!({ "Name": "" }),
    ] {
        let (status, message) = refused(hostile.clone());
        assert!((400..500).contains(&status) && !message.is_empty(), "{hostile}: {status} {message}");
    }
    let fixed = [
        "run",
        "-d",
        "--name",
        "fixed",
        "--network",
        "mine",
        "--ip",
        "10.77.0.9",
        "busybox",
        "sleep",
        "1000",
    ];
    home.holm(&fixed).ok();
    let inside = exec(&home, "fixed", "ip addr show eth0; ip route").ok();
    for part in ["10.77.0.9/24", "mtu 1400", "default via 10.77.0.254"] {
        assert!(inside.contains(part), "{inside}");
    }
    // The lowest address that nobody has or was promised.
    let taken = ["run", "--rm", "--network", "mine", "--ip", "10.77.0.9", "busybox", "true"];
    let taken = home.holm(&taken).fails_with(125);
    assert!(taken.contains("Address already in use"), "{taken}");
    assert!(
        home.holm(&["run", "--rm", "--network", "mine", "busybox", "ip", "addr"])
            .ok()
            .contains("10.77.0.2/24")
    );
    let shown: Value =
        serde_json::from_slice(&ask(&home, "GET", "/networks/mine", &Value::Null).body).unwrap();
    assert_eq!(shown["IPAM"]["Config"], made["IPAM"]["Config"]);
    let member = shown["Containers"].as_object().unwrap().values().next().unwrap();
    assert_eq!((&member["Name"], &member["IPv4Address"]), (&json!("fixed"), &json!("10.77.0.9/24")));

    let in_use = home.holm(&["network", "rm", "mine"]).fails_with(1);
    assert!(in_use.contains("network mine has active endpoints (name:\"fixed\""), "{in_use}");
    assert!(!home.holm(&["network", "prune", "-f"]).ok().contains("mine"));
    home.holm(&["network", "create", "idle"]).ok();
    home.holm(&["machine", "restart"]).ok();
    home.holm(&["start", "fixed"]).ok();
    assert!(exec(&home, "fixed", "ip addr").ok().contains("10.77.0.9/24"));
    assert!(home.holm(&["network", "prune", "-f"]).ok().contains("idle"));
    home.holm(&["rm", "-f", "fixed"]).ok();
    home.holm(&["network", "rm", "mine"]).ok();
    let gone = home.holm(&["network", "inspect", "mine"]).fails_with(1);
    assert!(gone.contains("network mine not found"), "{gone}");
}

fn addresses_are_handed_out_once(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["network", "create", "--subnet", "10.78.0.0/24", "crowd"]).ok();
    home.holm(&["pull", "busybox"]).ok();
    // Under emulation a start takes a second.
    let starts = if machine == Machine::Process { 100 } else { 20 };
    thread::scope(|scope| {
        for _ in 0..starts {
            scope.spawn(|| home.holm(&["run", "-d", "--network", "crowd", "busybox", "sleep", "1000"]).ok());
        }
    });
    let shown: Value =
        serde_json::from_slice(&ask(&home, "GET", "/networks/crowd", &Value::Null).body).unwrap();
    let members = shown["Containers"].as_object().unwrap();
    let addresses: std::collections::BTreeSet<_> =
        members.values().map(|member| member["IPv4Address"].as_str().unwrap()).collect();
    assert_eq!((members.len(), addresses.len()), (starts, starts));
}
