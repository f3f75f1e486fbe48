//! Containers whose memory runs out. In a machine only: `process` has no memory controller to limit it with.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::Machine;
use holm_tests::samples::ready;

mod qemu {
    #[test]
    fn a_container_that_takes_too_much_memory_is_killed_and_shown_so() {
        super::a_container_that_takes_too_much_memory_is_killed_and_shown_so();
    }
}

fn a_container_that_takes_too_much_memory_is_killed_and_shown_so() {
    let (_registry, home) = ready(Machine::Qemu).unwrap();
    home.holm(&["pull", "-q", "busybox"]).ok();
    // A program that keeps all it reads in its memory.
    let flags = ["run", "--name", "isle", "-m", "16m", "--memory-swap", "16m"];
    let greedy = ["busybox", "sh", "-c", "exec tail -c 100000000 /dev/zero"];
    home.holm(&[&flags[..], &greedy[..]].concat()).fails_with(137);
    let state = "{{.State.OOMKilled}} {{.State.ExitCode}} {{.State.Status}}";
    assert_eq!(home.holm(&["inspect", "-f", state, "isle"]).line(), "true 137 exited");
    let events = home.holm(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Action}}"]).ok();
    let told: Vec<&str> = events.lines().collect();
    let place =
        |action: &str| told.iter().position(|told| *told == action).unwrap_or_else(|| panic!("{told:?}"));
    assert!(place("oom") < place("die"), "{told:?}");
    // Modest ones live.
    home.holm(&["run", "--rm", "-m", "16m", "busybox", "true"]).ok();
}
