//! What runs again by itself, after an exit and after a restart of the machine; and what many clients at once make of
//! one name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::net::UnixStream;
use std::thread;

use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, exchange};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    policies_start_a_container_again_or_let_it_rest,
    a_restarted_machine_starts_what_policies_ask_for,
    of_many_clients_who_want_a_name_one_gets_it,
);

fn inspect(home: &Home, name: &str, template: &str) -> String {
    home.holm(&["inspect", "--format", template, name]).line()
}

fn policies_start_a_container_again_or_let_it_rest(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    home.holm(&["run", "-d", "--name", "tries", "--restart", "on-failure:2", "busybox", "false"]).ok();
    home.holm(&["wait", "tries"]).ok();
    assert_eq!(
        inspect(&home, "tries", "{{.RestartCount}} {{.State.ExitCode}} {{.State.Status}}"),
        "2 1 exited"
    );
    let script = "echo x >> /runs; [ $(wc -l < /runs) -lt 3 ]";
    home.holm(&["run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", script]).ok();
    while inspect(&home, "again", "{{.RestartCount}}").parse::<u32>().unwrap() < 3 {}
    // Between two runs, too, a stop is the end of it.
    home.holm(&["stop", "again"]).ok();
    assert_eq!(inspect(&home, "again", "{{.State.Running}}"), "false");
    let refused = home.holm(&["run", "--rm", "--restart", "always", "busybox"]).fails_with(125);
    assert!(refused.contains("--rm"), "{refused}");
}

fn a_restarted_machine_starts_what_policies_ask_for(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    for (name, policy) in
        [("always", "always"), ("unless", "unless-stopped"), ("stopped", "unless-stopped"), ("no", "no")]
    {
        home.holm(&["run", "-d", "--name", name, "--restart", policy, "busybox", "sleep", "1000"]).ok();
    }
    home.holm(&["stop", "-t", "0", "stopped"]).ok();
    home.holm(&["machine", "restart"]).ok();
    for name in ["always", "unless"] {
        while inspect(&home, name, "{{.State.Running}}") != "true" {}
    }
    let running = home.holm(&["ps", "--format", "{{.Names}}"]).ok();
    let mut running: Vec<&str> = running.lines().collect();
    running.sort_unstable();
    assert_eq!(running, ["always", "unless"]);
}

fn of_many_clients_who_want_a_name_one_gets_it(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let create = |path: &str| {
        let stream = UnixStream::connect(home.socket()).unwrap();
        let body = br#"{"Image":"busybox"}"#;
        let content_type = Some("application/json");
        let request = Request { method: "POST", host: "docker", path, content_type, body };
        exchange(stream, &request).unwrap().status
    };
    let statuses: Vec<u16> = thread::scope(|scope| {
        let clients: Vec<_> = (0..100)
            .map(|number| {
                let path = match number % 2 {
                    0 => "/containers/create?name=wanted",
                    _ => "/containers/create",
                };
                scope.spawn(move || create(path))
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let named: Vec<u16> = statuses.iter().step_by(2).copied().collect();
    assert_eq!(named.iter().filter(|status| **status == 201).count(), 1, "{named:?}");
    assert_eq!(named.iter().filter(|status| **status == 409).count(), 49, "{named:?}");
    assert!(statuses.iter().skip(1).step_by(2).all(|status| *status == 201), "{statuses:?}");
    let names = home.holm(&["ps", "-a", "--format", "{{.Names}}"]).ok();
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 51);
}
