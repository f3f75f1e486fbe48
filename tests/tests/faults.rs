//! Processes that are killed: nothing that was acknowledged is lost, and the next command works.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use holm_tests::home::{Home, Machine};
use holm_tests::image::{Image, Layer};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;
use rustix::process::{Signal, kill_process};
use serde_json::json;

on_every_machine!(a_killed_daemon_is_started_again, a_killed_machine_is_booted_again);

fn kept(home: &Home) {
    let list = home.holm(&["ps", "-a", "--format", "{{.Names}} {{.State}}"]).ok();
    assert_eq!(list, "isle exited\n");
    assert_eq!(home.holm(&["logs", "isle"]).ok(), "said\n");
    assert_eq!(home.holm(&["run", "--rm", "busybox", "echo", "again"]).ok(), "again\n");
}

fn a_killed_daemon_is_started_again(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "--name", "isle", "busybox", "echo", "said"]).ok();
    home.kill("daemon_pid").unwrap();
    kept(&home);
}

fn a_killed_machine_is_booted_again(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["run", "--name", "isle", "busybox", "echo", "said"]).ok();
    home.kill("machine_pid").unwrap();
    kept(&home);
}

/// In a machine, where the disk is as large as the settings say.
#[test]
fn a_full_disk_is_named_and_nothing_half_pulled_stays_on_it() {
    let (registry, home) = ready(Machine::Qemu).unwrap();
    let settings = fs::read_to_string(home.path().join("settings.toml")).unwrap();
    home.set(&settings.replace("8GiB", "256MiB")).unwrap();
    // Fast to make and to send, and more than the disk all the same.
    let layer = Layer::default().file("zeros", 0o644, &vec![0; 300 << 20]);
    registry.push("large", "latest", &Image::new(vec![layer], json!({})).unwrap()).unwrap();
    let error = home.holm(&["pull", &format!("{}/large", registry.host())]).fails_with(1);
    assert!(error.contains("no space left on device"), "{error}");
    assert_eq!(home.holm(&["images", "-q"]).ok(), "");
    assert_eq!(home.holm(&["run", "--rm", "busybox", "echo", "again"]).ok(), "again\n");
    // What the pull wrote is free again.
    home.holm(&["run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/file", "bs=1M", "count=100"]).ok();
    // And the computer has back what was deleted, once the machine's journal is written.
    let disk = home.path().join("machine/data.img");
    let begun = Instant::now();
    while fs::metadata(&disk).unwrap().blocks() * 512 > 50 << 20 {
        assert!(begun.elapsed() < Duration::from_secs(60), "deleted files still take the computer's disk");
        home.holm(&["run", "--rm", "busybox", "sync"]).ok();
    }
}

/// On `process`, where the engine is a process that can be seen from here.
#[test]
fn a_killed_engine_leaves_containers_running() {
    let (_registry, home) = ready(Machine::Process).unwrap();
    home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", "echo said; exec sleep 1000"]).ok();
    let started = home.holm(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", "isle"]).line();
    let check = ["--health-cmd", "echo ill; false", "--health-interval", "50ms", "--health-retries", "1"];
    home.docker(&[&["run", "-d", "--name", "ill"], &check[..], &["busybox", "sleep", "1000"]].concat()).ok();
    let health = |what: &str| home.holm(&["inspect", "-f", &format!("{{{{{what}}}}}"), "ill"]).line();
    let streak = || health(".State.Health.FailingStreak").parse::<u64>().unwrap();
    while streak() < 3 {}
    home.docker(&["exec", "-d", "isle", "sleep", "1000"]).ok();
    let engine = home.engine().unwrap();
    kill_process(engine, Signal::KILL).unwrap();

    let after = home.holm(&["inspect", "-f", "{{.State.StartedAt}} {{.State.Pid}}", "isle"]).line();
    assert_eq!(after, started);
    assert_ne!(home.engine().unwrap(), engine);
    // It is not as if the container had only started.
    assert_eq!(health(".State.Health.Status"), "unhealthy");
    assert!(streak() > 2, "the failures before do not count");
    assert!(health("len .State.Health.Log").parse::<u64>().unwrap() > 2);
    home.holm(&["rm", "-f", "ill"]).ok();
    // What it ran there is forgotten, lives on, and hinders nothing.
    assert_eq!(home.docker(&["exec", "isle", "sh", "-c", "pidof sleep | wc -w"]).line(), "2");
    assert_eq!(home.holm(&["kill", "isle"]).line(), "isle");
    assert_eq!(home.holm(&["wait", "isle"]).line(), "137");
}

#[test]
fn a_killed_engine_loses_no_exit_no_line_and_no_policy() {
    let (_registry, home) = ready(Machine::Process).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    let told = "trap 'echo told; exit 7' USR1; echo up; while :; do sleep 0.1; done";
    home.holm(&["run", "-d", "--name", "isle", "busybox", "sh", "-c", told]).ok();
    let ends = "while :; do sleep 0.1; [ -e /end ] && exit 4; done";
    home.holm(&["run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c", ends]).ok();
    while home.holm(&["logs", "isle"]).ok() != "up\n" {}

    kill_process(home.engine().unwrap(), Signal::KILL).unwrap();
    assert_eq!(home.holm(&["inspect", "-f", "{{.State.Status}}", "again"]).line(), "running");
    home.holm(&["kill", "-s", "USR1", "isle"]).ok();
    assert_eq!(home.holm(&["wait", "isle"]).line(), "7");
    assert_eq!(home.holm(&["logs", "isle"]).ok(), "up\ntold\n");
    home.holm(&["exec", "again", "touch", "/end"]).ok();
    while home.holm(&["inspect", "-f", "{{.RestartCount}}", "again"]).line() == "0" {}
    home.holm(&["rm", "-f", "again", "isle"]).ok();
    assert_eq!(home.holm(&["ps", "-aq"]).ok(), "");
}
