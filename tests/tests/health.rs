//! Health checks, as `docker run --health-*` and images ask for them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    a_container_becomes_healthy_and_unhealthy_as_its_check_says,
    a_probe_that_hangs_is_ended_and_told,
    a_check_can_be_turned_off_and_must_make_sense,
);

/// Returns when an event has come that contains `wanted`; those of before count too.
fn event(home: &Home, wanted: &str) {
    let mut command = home.command(&["events", "--since", "1h", "--format", "{{.Action}}"]);
    let mut events = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).any(|line| line.contains(wanted));
    events.kill().unwrap();
    events.wait().unwrap();
    assert!(found, "the events ended before {wanted:?}");
}

fn inspect(home: &Home, template: &str) -> String {
    home.docker(&["inspect", "--format", template, "isle"]).line()
}

fn a_container_becomes_healthy_and_unhealthy_as_its_check_says(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    home.docker(&[
        "run",
        "-d",
        "--name",
        "isle",
        "--health-cmd",
        "cat /state || exit 1",
        "--health-interval",
        "100ms",
        "--health-retries",
        "2",
        "busybox",
        "sleep",
        "1000",
    ])
    .ok();
    let status = || home.docker(&["ps", "--format", "{{.Status}}"]).line();
    event(&home, "health_status: unhealthy");
    assert!(status().ends_with(" (unhealthy)"), "{}", status());
    assert_eq!(
        inspect(&home, "{{.State.Health.Status}} {{len .State.Health.Log}}").split(' ').next(),
        Some("unhealthy")
    );
    assert!(inspect(&home, "{{(index .State.Health.Log 0).Output}}").contains("No such file or directory"));

    home.docker(&["exec", "isle", "sh", "-c", "echo fine > /state"]).ok();
    event(&home, "health_status: healthy");
    assert!(status().ends_with(" (healthy)"), "{}", status());
    assert_eq!(home.docker(&["ps", "-q", "--filter", "health=healthy"]).ok().lines().count(), 1);
    assert_eq!(home.docker(&["ps", "-q", "--filter", "health=none"]).ok(), "");
    assert_eq!(
        inspect(&home, "{{.State.Health.FailingStreak}} {{json .ExecIDs}}").split(' ').next(),
        Some("0")
    );
    event(&home, "exec_die");

    home.docker(&["restart", "-t", "0", "isle"]).ok();
    event(&home, "restart");
    home.docker(&["rm", "-f", "isle"]).ok();
}

fn a_probe_that_hangs_is_ended_and_told(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    home.docker(&[
        "run",
        "-d",
        "--name",
        "isle",
        "--health-cmd",
        "echo $$; sleep 1000",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "200ms",
        "--health-retries",
        "1",
        "busybox",
        "sleep",
        "2000",
    ])
    .ok();
    event(&home, "health_status: unhealthy");
    let told =
        inspect(&home, "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}");
    assert!(told.starts_with("-1 Health check exceeded timeout (200ms): "), "{told}");
    home.docker(&["rm", "-f", "isle"]).ok();
}

fn a_check_can_be_turned_off_and_must_make_sense(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    home.holm(&["machine", "start"]).ok();
    home.docker(&["run", "-d", "--name", "isle", "--no-healthcheck", "busybox", "sleep", "1000"]).ok();
    assert_eq!(inspect(&home, "{{json .Config.Healthcheck.Test}} {{.State.Health}}"), "[\"NONE\"] <nil>");
    assert_eq!(home.docker(&["ps", "-q", "--filter", "health=none"]).ok().lines().count(), 1);
    let args = ["create", "--health-cmd", "x", "--health-interval", "1us", "busybox"];
    let refused = home.docker(&args).fails_with(1);
    assert!(refused.contains("Interval in Healthcheck cannot be less than 1ms"), "{refused}");
    home.docker(&["rm", "-f", "isle"]).ok();
}
