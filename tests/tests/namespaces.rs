//! What a container shares with the machine and with other containers, and what it keeps to itself.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    a_container_joins_anothers_namespaces_while_that_one_runs,
    namespaces_of_the_machine_are_shared
);

fn a_container_joins_anothers_namespaces_while_that_one_runs(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let id =
        home.holm(&["run", "-d", "--name", "isle", "--ipc", "shareable", "busybox", "sleep", "1000"]).line();
    let run = |flags: &[&str], script: &str| {
        home.holm(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };

    // Its network, with the name that goes with it and the files about both.
    let address = "{{.NetworkSettings.IPAddress}}";
    let address = home.holm(&["inspect", "--format", address, "isle"]).line();
    let seen = run(&["--network", "container:isle"], "hostname; hostname -i; ip -4 addr show eth0").ok();
    assert!(seen.starts_with(&format!("{}\n{address}\n", &id[..12])), "{seen}");
    assert!(seen.contains(&format!("inet {address}/16")), "{seen}");

    // Its processes.
    let seen = run(&["--pid", "container:isle"], "cat /proc/1/cmdline | tr '\\0' ' '").ok();
    assert_eq!(seen, "sleep 1000 ");

    // Its memory and queues, in both directions, under any name it has.
    run(&["--ipc", "container:isle"], "echo kept > /dev/shm/note").ok();
    home.holm(&["create", "--name", "later", "--ipc", "container:isle", "busybox", "cat", "/dev/shm/note"])
        .ok();
    let mode = home.holm(&["inspect", "--format", "{{.HostConfig.IpcMode}}", "later"]).line();
    assert_eq!(mode, format!("container:{id}"));
    assert_eq!(home.holm(&["start", "-a", "later"]).ok(), "kept\n");

    home.holm(&["run", "-d", "--name", "closed", "busybox", "sleep", "1000"]).ok();
    let refused = run(&["--ipc", "container:closed"], "true").fails_with(125);
    assert!(
        refused.contains("non-shareable IPC (hint: use IpcMode:shareable for the donor container)"),
        "{refused}"
    );
    let refused = run(&["--pid", "container:nobody"], "true").fails_with(125);
    assert!(refused.contains("No such container: nobody"), "{refused}");

    home.holm(&["kill", "isle", "closed"]).ok();
    let refused = home.holm(&["start", "later"]).fails_with(1);
    assert!(
        refused.contains(&format!("failed to join IPC namespace: container {id} is not running")),
        "{refused}"
    );
    let refused = run(&["--network", "container:isle"], "true").fails_with(125);
    assert!(
        refused
            .contains("cannot join network namespace of a non running container: container isle is exited"),
        "{refused}"
    );
    let refused = run(&["--network", "container:isle", "--hostname", "mine"], "true").fails_with(125);
    assert!(refused.contains("conflicting options: hostname and the network mode"), "{refused}");
}

fn namespaces_of_the_machine_are_shared(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let look = |flags: &[&str]| {
        let script = "for kind in net pid ipc uts cgroup; do readlink /proc/self/ns/$kind; done";
        let seen = home.holm(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat()).ok();
        seen.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["--network=host", "--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host"];
    let (one, other, own) = (look(&all), look(&all), look(&[]));
    assert_eq!(one.len(), 5);
    assert_eq!(one, other, "the machine's are the same for everybody");
    assert!(one.iter().zip(&own).all(|(shared, own)| shared != own), "{one:?} {own:?}");
}
