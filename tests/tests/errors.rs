//! What went wrong, in Docker's words, and what to do next.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use holm_tests::command::run;
use holm_tests::faulty::{Answer, FaultyRegistry};
use holm_tests::home::{Home, Machine, programs};
use holm_tests::on_every_machine;

on_every_machine!(registries_that_cannot_be_used_are_told_apart);

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in:\n{text}");
    }
}

#[test]
fn a_socket_where_nobody_listens() {
    let home = Home::new(Machine::Process, &[]).unwrap();
    let mut command = home.command(&["ps"]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let error = run(command, b"").fails_with(1);
    says(
        &error,
        &["Cannot connect to the ", " daemon at unix:///nowhere/docker.sock. Is the ", " daemon running?"],
    );
}

#[test]
fn a_socket_of_somebody_else() {
    let home = Home::new(Machine::Process, &[]).unwrap();
    home.holm(&["machine", "start"]).ok();
    // Where another user can read it: the project's folder need not be open to others.
    let shared = tempfile::tempdir().unwrap();
    let holm = shared.path().join("holm");
    fs::copy(programs().join("holm"), &holm).unwrap();
    fs::set_permissions(shared.path(), Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(holm).arg("ps");
    command.env("DOCKER_HOST", home.docker_host()).env("HOME", "/");
    says(&run(command, b"").fails_with(1), &["permission denied", "docker.sock"]);
}

#[test]
fn settings_that_make_no_sense() {
    let home = Home::new(Machine::Process, &[]).unwrap();
    home.set("machine = \"process\"\ncpus = \"many\"\n").unwrap();
    let ran = home.holm(&["ps"]);
    assert_ne!(ran.status, 0);
    says(&ran.stderr, &["settings.toml:2", "cpus"]);
}

#[test]
fn a_command_that_is_not_there_yet() {
    let home = Home::new(Machine::Process, &[]).unwrap();
    let ran = home.holm(&["build", "."]);
    assert_ne!(ran.status, 0);
    says(&ran.stderr, &["build"]);
}

fn registries_that_cannot_be_used_are_told_apart(machine: Machine) {
    let registry = FaultyRegistry::start().unwrap();
    let home = Home::new(machine, &[]).unwrap();
    let pull = |reference: &str| home.holm(&["pull", reference]).fails_with(1);
    let host = registry.host();

    says(&pull("registry.invalid/app"), &["registry.invalid", "no such host"]);
    // Port 1 is nobody's.
    says(&pull("localhost:1/app"), &["localhost:1", "connection refused"]);
    says(&pull(&format!("{host}/nothing")), &["manifest unknown"]);
    let login = "WWW-Authenticate: Basic realm=\"here\"\r\n";
    registry.answer("private/manifests/latest", &[Answer::Status(401, login, "{}".into())]);
    says(&pull(&format!("{host}/private")), &["holm login"]);
    registry.answer("busy/manifests/latest", &[Answer::Status(429, "", "{}".into())]);
    says(&pull(&format!("{host}/busy")), &["too many requests"]);
    assert_eq!(home.holm(&["images", "-q"]).ok(), "");
}
