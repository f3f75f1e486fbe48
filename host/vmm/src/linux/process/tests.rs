use super::*;
use crate::Mebibytes;
use std::io::Write;
use std::process::{Command, Stdio};

/// A machine whose `holmd` is this shell program.
fn spec(folder: &Path, program: &str) -> MachineSpec {
    let (run, image) = (folder.join("run"), folder.join("image"));
    fs::create_dir_all(&run).unwrap();
    fs::create_dir_all(&image).unwrap();
    let holmd = image.join("holmd");
    install(&holmd, &format!("#!/bin/sh\n{program}\n"));
    MachineSpec { run, image, disk: folder.join("disk.raw"), cpus: 1, memory: Mebibytes(64) }
}

/// By another process: a child that another test's thread forks meanwhile would keep our descriptor open for
/// writing, and exec of a file that is open for writing fails.
fn install(path: &Path, content: &str) {
    let mut child = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn console(spec: &MachineSpec) -> String {
    fs::read_to_string(spec.run.join("console.log")).unwrap()
}

#[track_caller]
fn boot(spec: &MachineSpec) -> Box<dyn Machine> {
    assert!(rustix::process::geteuid().is_root(), "this test makes namespaces: run it as root");
    Process.boot(spec).unwrap()
}

#[tokio::test]
async fn the_program_runs_as_pid_1_in_namespaces_and_a_cgroup_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(
        folder.path(),
        "echo $$ \"$@\"; grep ^0: /proc/self/cgroup
        for n in mnt pid net uts ipc cgroup; do readlink /proc/self/ns/$n; done; exit 3",
    );
    let machine = boot(&spec);
    let exit = machine.wait().await;
    let console = console(&spec);
    let mut lines = console.lines();
    let root = folder.path().display();
    let arguments = format!("1 init --sockets {root}/run/sockets --data {root}/disk.raw.d");
    assert_eq!(lines.next(), Some(arguments.as_str()));
    assert_eq!(lines.next(), Some("0::/"));
    for namespace in ["mnt", "pid", "net", "uts", "ipc", "cgroup"] {
        let ours = fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap();
        assert_ne!(lines.next(), ours.to_str(), "{namespace}");
    }
    assert!(matches!(exit, Exit::Died(how) if how.starts_with("holmd ended with exit code 3")));
    assert!(matches!(machine.connect(1024).await, Err(error) if error.kind() == io::ErrorKind::NotConnected));
    assert_eq!(machine.pid(), None);
}

#[tokio::test]
async fn a_killed_machine_frees_its_data_and_leaves_no_cgroup() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "sleep 1000 & wait");
    let machine = boot(&spec);
    assert!(matches!(Process.boot(&spec), Err(BootError::DiskInUse(_))));
    machine.kill();
    assert_eq!(machine.wait().await, Exit::Died("holmd was ended by signal 9".into()));
    Process.end_leftover(&spec).unwrap();
    let again = Process.boot(&spec).unwrap();
    again.kill();
    again.wait().await;
    assert!(!Cgroup::exists(&spec.run).unwrap());
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_is_an_error_of_boot() {
    let folder = tempfile::tempdir().unwrap();
    let spec = spec(folder.path(), "");
    install(&spec.image.join("holmd"), "neither ELF nor script");
    match Process.boot(&spec) {
        Err(BootError::Step { step, cause }) => {
            assert!(step.ends_with("/image/holmd"), "{step}");
            assert_eq!(cause.raw_os_error(), Some(libc::ENOEXEC));
        }
        _ => panic!("booted, or failed for another reason"),
    }
    fs::remove_file(spec.image.join("holmd")).unwrap();
    assert!(matches!(Process.boot(&spec), Err(BootError::ImageIncomplete(_))));
}
