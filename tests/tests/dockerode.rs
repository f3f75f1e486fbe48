//! dockerode, the client of programs on Node.js, tells its story through our socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use holm_tests::cache::{key, made};
use holm_tests::command::run;
use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

const INSTALL: &str = include_str!("../src/clients/dockerode/install.sh");
const PACKAGE: &str = include_str!("../src/clients/dockerode/package.json");
const LOCK: &str = include_str!("../src/clients/dockerode/package-lock.json");

on_every_machine!(a_program_with_dockerode_finds_what_it_expects);

fn a_program_with_dockerode_finds_what_it_expects(machine: Machine) {
    let modules = made(INSTALL, &format!("dockerode-{}", key(LOCK)), &[PACKAGE, LOCK]).unwrap();
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    let mut node = Command::new("node");
    node.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/clients/dockerode/story.js"));
    node.env("NODE_PATH", modules).env("DOCKER_HOST", home.docker_host());
    assert_eq!(run(node, b"").ok(), "done\n");
}
