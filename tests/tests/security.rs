//! The classes of known ways out of a container, each tried from inside as root with Docker's default rights.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_tests::home::{Home, Machine};
use holm_tests::on_every_machine;
use holm_tests::samples::ready;

on_every_machine!(
    the_kernel_is_not_written_to,
    our_own_program_is_not_overwritten,
    no_descriptor_of_ours_is_inherited,
    devices_and_cgroups_are_not_reached,
    a_seccomp_profile_of_ones_own_decides,
);

/// What a shell in a new container complains about.
fn complaint(home: &Home, flags: &[&str], script: &str) -> String {
    let ran = home.holm(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat());
    assert_ne!(ran.status, 0, "allowed: {script}");
    ran.stderr
}

fn the_kernel_is_not_written_to(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    for file in [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
        "/sys/kernel/uevent_helper",
        "/sys/kernel/mm/ksm/run",
    ] {
        let said = complaint(&home, &[], &format!("echo 1 > {file}"));
        let refused = ["Read-only file system", "Permission denied", "nonexistent", "No such file"];
        assert!(refused.iter().any(|words| said.contains(words)), "{file}: {said}");
    }
    // What is hidden is empty, for reading as for writing.
    let seen = home.holm(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "cat /proc/kcore /proc/keys /proc/timer_list | wc -c",
    ]);
    assert_eq!(seen.line(), "0");
    for script in ["mount -t tmpfs none /mnt", "mount -o remount,rw /proc/sys", "unshare -U true", "dmesg"] {
        let said = complaint(&home, &[], script);
        assert!(said.contains("ermitted") || said.contains("denied"), "{script}: {said}");
    }
}

fn our_own_program_is_not_overwritten(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    // The init of `--init` is our program, so these are its file, as it is mounted and as it was started.
    for file in ["/sbin/docker-init", "/proc/1/exe"] {
        let said = complaint(&home, &["--init"], &format!(": > {file}"));
        assert!(said.contains("Read-only file system"), "{file}: {said}");
    }
    // A container whose program is "whatever started me" must at most run it, and leave it as it was.
    let ran = home.holm(&["run", "--name", "self", "--entrypoint", "/proc/self/exe", "busybox"]);
    assert_ne!(ran.status, 0, "{ran}");
    home.holm(&["run", "--rm", "--init", "busybox", "true"]).ok();
}

fn no_descriptor_of_ours_is_inherited(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    // `ls` itself opens the folder.
    let list = "ls /proc/self/fd | tr '\\n' ' '";
    assert_eq!(home.holm(&["run", "--rm", "busybox", "sh", "-c", list]).line(), "0 1 2 3");
    assert_eq!(home.holm(&["run", "--rm", "--init", "busybox", "sh", "-c", list]).line(), "0 1 2 3");
    home.holm(&["run", "-d", "--name", "isle", "busybox", "sleep", "1000"]).ok();
    assert_eq!(home.holm(&["exec", "isle", "sh", "-c", list]).line(), "0 1 2 3");
    // The first process of a container is nobody's way back, whoever looks.
    let links = "for fd in /proc/1/fd/*; do readlink $fd; done";
    let links = home.holm(&["exec", "isle", "sh", "-c", links]).ok();
    assert!(links.lines().all(|link| link == "/dev/null" || link.starts_with("pipe:")), "{links}");
    home.holm(&["rm", "-f", "isle"]).ok();
}

fn devices_and_cgroups_are_not_reached(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    // The disk of every machine here is a block device with one of these numbers.
    for device in ["b 254 0", "b 8 0", "b 253 0", "c 1 1"] {
        let said = complaint(&home, &[], &format!("mknod /tmp/device {device} && head -c 1 /tmp/device"));
        assert!(said.contains("Operation not permitted"), "{device}: {said}");
    }
    // A release agent would be run by the kernel, outside.
    for script in [
        "mkdir /tmp/c && mount -t cgroup -o rdma cgroup /tmp/c",
        "mkdir /tmp/c && mount -t cgroup2 cgroup /tmp/c",
        "echo 1 > /sys/fs/cgroup/cgroup.procs",
        "mkdir /sys/fs/cgroup/mine",
    ] {
        let said = complaint(&home, &[], script);
        let refused = ["ermitted", "denied", "Read-only file system"];
        assert!(refused.iter().any(|words| said.contains(words)), "{script}: {said}");
    }
    assert!(!home.holm(&["ps", "-aq"]).ok().contains(char::is_alphanumeric), "--rm left something");
}

fn a_seccomp_profile_of_ones_own_decides(machine: Machine) {
    let (_registry, home) = ready(machine).unwrap();
    let file = home.path().join("profile.json");
    let own = format!("seccomp={}", file.display());
    let flags = ["--security-opt", own.as_str()];
    let refuses = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}"#;
    std::fs::write(&file, refuses).unwrap();
    let said = complaint(&home, &flags, "mkdir /tmp/new");
    assert!(said.contains("No space left on device"), "{said}");
    // Also for those who come later.
    home.holm(&["run", "-d", "--name", "own", flags[0], flags[1], "busybox", "sleep", "1000"]).ok();
    let later = home.holm(&["exec", "own", "mkdir", "/tmp/new"]);
    assert!(later.stderr.contains("No space left on device"), "{later}");
    home.holm(&["rm", "-f", "own"]).ok();

    std::fs::write(&file, r#"{"defaultAction": "SCMP_ACT_HOPE"}"#).unwrap();
    let ran = home.holm(&["run", "--rm", flags[0], flags[1], "busybox", "true"]);
    assert_eq!(ran.status, 125, "{ran}");
    assert!(ran.stderr.contains("string SCMP_ACT_HOPE is not a valid action for seccomp"), "{ran}");
    home.holm(&["run", "--rm", "--security-opt", "seccomp=builtin", "busybox", "true"]).ok();
}
