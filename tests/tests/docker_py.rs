//! docker-py tells its story through our socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use holm_tests::command::run;
use holm_tests::home::Machine;
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(a_program_with_docker_py_finds_what_it_expects);

fn a_program_with_docker_py_finds_what_it_expects(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    // Debian's own Python, which has Debian's package of the library.
    let mut python = Command::new("/usr/bin/python3");
    python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/clients/docker_py.py"));
    python.env("DOCKER_HOST", home.docker_host());
    assert_eq!(run(python, b"").ok(), "done\n");
}
