//! Further processes of a container: what they have of it, how their streams run, and how they end.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use holm_api::ExecId;
use holm_api::models::HostConfig;
use holm_api::stream::Channel;
use tokio::io::AsyncWriteExt;

use crate::machine::{Machine, isolated, text};
use crate::shim::client::{Output, ShimClient, ShimError};
use crate::shim::protocol::{ExecConfig, FailureKind, WindowSize};
use crate::{ALL, OUTPUT};

fn exec(number: u8, args: &[&str]) -> ExecConfig {
    ExecConfig {
        id: ExecId::from_bytes([number; 32]),
        args: args.iter().map(ToString::to_string).collect(),
        env: vec!["PATH=/bin".to_owned(), "A=1".to_owned()],
        cwd: "/".into(),
        user: String::new(),
        privileged: false,
        terminal: None,
        stdin: false,
    }
}

async fn read_all(mut output: Output) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    while let Some((channel, bytes)) = output.next().await.unwrap() {
        if channel == Channel::Stderr { err.extend(bytes) } else { out.extend(bytes) }
    }
    (text(&out).to_owned(), text(&err).to_owned())
}

/// Standard output, standard error, exit code.
async fn run(shim: &ShimClient, config: ExecConfig) -> (String, String, i32) {
    let (output, _input) = shim.attach_exec(config.id.clone(), OUTPUT).await.unwrap();
    let (_, running) = shim.exec(config).await.unwrap();
    let (out, err) = read_all(output).await;
    (out, err, running.wait().await.unwrap().code)
}

async fn sleeper(machine: &Machine, host: HostConfig) -> (ShimClient, i32) {
    let container = machine.default_container(&["sleep", "1000"], host);
    let (shim, pid) = container.launch().await.unwrap();
    shim.start().await.unwrap();
    (shim, pid)
}

async fn end(shim: &ShimClient) {
    shim.signal(9, false).await.unwrap();
    shim.wait().await.unwrap();
    shim.forget().await.unwrap();
}

#[test]
fn a_further_process_has_streams_and_an_exit_of_its_own() {
    isolated("exec::a_further_process_has_streams_and_an_exit_of_its_own", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let outcome = run(&shim, exec(1, &["sh", "-c", "echo $A $HOME; echo no >&2; exit 7"])).await;
        assert_eq!(outcome, ("1 /root\n".to_owned(), "no\n".to_owned(), 7));
        assert_eq!(run(&shim, exec(2, &["sh", "-c", "kill -9 $$"])).await.2, 137);
        end(&shim).await;
        assert!(machine.is_clean(), "{:?}", machine.leftovers());
    });
}

#[test]
fn it_is_in_all_of_the_containers_places_and_no_other() {
    isolated("exec::it_is_in_all_of_the_containers_places_and_no_other", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let script = "for ns in cgroup ipc mnt net pid uts; do \
                      [ $(readlink /proc/1/ns/$ns) = $(readlink /proc/self/ns/$ns) ] || echo $ns; done; \
                      grep 0:: /proc/self/cgroup; ls /proc/self/fd; hostname";
        let (told, err, code) = run(&shim, exec(1, &["sh", "-c", script])).await;
        // `ls` has one descriptor of its own.
        assert_eq!((told.as_str(), err.as_str(), code), ("0::/\n0\n1\n2\n3\nbox\n", "", 0));
        end(&shim).await;
    });
}

#[test]
fn it_may_do_what_the_container_may_do() {
    isolated("exec::it_may_do_what_the_container_may_do", async |machine: Machine| {
        let restricted = HostConfig {
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            cap_drop: Some(vec!["CHOWN".to_owned()]),
            ..Default::default()
        };
        for host in [HostConfig::default(), restricted] {
            let (shim, _) = sleeper(&machine, host).await;
            let look = "grep -E '^(Cap|NoNewPrivs|Seccomp)' /proc/$1/status; grep open /proc/$1/limits";
            let of = |pid: &'static str| ["sh", "-c", look, "sh", pid];
            let (first, ..) = run(&shim, exec(1, &of("1"))).await;
            let (own, ..) = run(&shim, exec(2, &of("self"))).await;
            assert!(own.contains("Seccomp:\t2") && own.contains("CapBnd"), "{own}");
            assert_eq!(own, first);
            let privileged = ExecConfig { privileged: true, ..exec(3, &of("self")) };
            let (all, ..) = run(&shim, privileged).await;
            assert_ne!(all, own);
            assert!(all.contains("Seccomp:\t2"), "{all}");
            end(&shim).await;
        }
    });
}

#[test]
fn it_is_whom_it_is_asked_to_be() {
    isolated("exec::it_is_whom_it_is_asked_to_be", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let web = ExecConfig {
            user: "web".to_owned(),
            cwd: "/tmp".into(),
            ..exec(
                1,
                &[
                    "sh",
                    "-c",
                    "id -u; id -g; echo $HOME; pwd; echo x > /dev/stdout; grep CapEff /proc/self/status",
                ],
            )
        };
        assert_eq!(
            run(&shim, web).await,
            ("1000\n1001\n/home/web\n/tmp\nx\nCapEff:\t0000000000000000\n".to_owned(), String::new(), 0)
        );
        shim.check_user("web".to_owned()).await.unwrap();
        let Err(ShimError::Container(refused)) = shim.check_user("nobody:here".to_owned()).await else {
            panic!("there is no such user");
        };
        assert_eq!(refused.message, "unable to find user nobody: no matching entries in passwd file");
        end(&shim).await;
    });
}

#[test]
fn what_cannot_be_run_fails_in_dockers_words_and_ends_its_clients() {
    isolated(
        "exec::what_cannot_be_run_fails_in_dockers_words_and_ends_its_clients",
        async |machine: Machine| {
            let (shim, _) = sleeper(&machine, HostConfig::default()).await;
            let nowhere = ExecConfig { cwd: "/nowhere".into(), ..exec(4, &["true"]) };
            let leaked = ExecConfig { cwd: "/proc/self/fd/7".into(), ..exec(5, &["true"]) };
            let cases = [
                (
                    exec(1, &["foo"]),
                    FailureKind::NotFound,
                    "exec: \"foo\": executable file not found in $PATH: unknown",
                ),
                (
                    exec(2, &["/etc/passwd"]),
                    FailureKind::NotExecutable,
                    "exec: \"/etc/passwd\": permission denied: unknown",
                ),
                (
                    exec(3, &["/etc"]),
                    FailureKind::NotExecutable,
                    "exec: \"/etc\": is a directory: unknown: permission denied",
                ),
                (
                    nowhere,
                    FailureKind::NotFound,
                    "chdir to cwd (\"/nowhere\") set in config.json failed: no such file or directory: unknown",
                ),
                (
                    leaked,
                    FailureKind::NotFound,
                    "chdir to cwd (\"/proc/self/fd/7\") set in config.json failed: no such file or directory: unknown",
                ),
            ];
            for (config, kind, words) in cases {
                let (output, _input) = shim.attach_exec(config.id.clone(), OUTPUT).await.unwrap();
                let Err(ShimError::Container(failure)) = shim.exec(config).await else { panic!("{words}") };
                let prefix = "OCI runtime exec failed: exec failed: unable to start container process: ";
                assert_eq!((failure.kind, failure.message), (kind, format!("{prefix}{words}")));
                assert_eq!(read_all(output).await, (String::new(), String::new()));
            }
            // Its name is found, and the kernel knows no such program: as with runc this is its own last word.
            let told = run(&shim, exec(6, &["/bin/no-program"])).await;
            assert_eq!(told, (String::new(), "exec /bin/no-program: exec format error\n".to_owned(), 255));
            end(&shim).await;
        },
    );
}

#[test]
fn its_input_ends_with_its_clients() {
    isolated("exec::its_input_ends_with_its_clients", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let config = ExecConfig { stdin: true, ..exec(1, &["wc", "-c"]) };
        let (output, mut input) = shim.attach_exec(config.id.clone(), ALL).await.unwrap();
        // Before there is a process: its bytes wait.
        input.write_all(&[b'x'; 100]).await.unwrap();
        let (_, running) = shim.exec(config).await.unwrap();
        input.write_all(&vec![b'x'; 900_000]).await.unwrap();
        input.shutdown().await.unwrap();
        assert_eq!(read_all(output).await.0, "900100\n");
        assert_eq!(running.wait().await.unwrap().code, 0);
        assert_eq!(run(&shim, exec(2, &["cat"])).await, (String::new(), String::new(), 0), "nobody writes");
        end(&shim).await;
    });
}

#[test]
fn its_terminal_has_its_size_from_the_first_moment() {
    isolated("exec::its_terminal_has_its_size_from_the_first_moment", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let config = ExecConfig {
            terminal: Some(WindowSize { rows: 33, columns: 101 }),
            stdin: true,
            user: "web".to_owned(),
            ..exec(1, &["sh", "-c", "stty size; tty; echo ok > /dev/tty; read line; stty size"])
        };
        let id = config.id.clone();
        let (mut output, mut input) = shim.attach_exec(id.clone(), ALL).await.unwrap();
        let (_, running) = shim.exec(config).await.unwrap();
        let mut seen = Vec::new();
        while !text(&seen).contains("ok\r\n") {
            seen.extend(output.next().await.unwrap().unwrap().1);
        }
        shim.resize_exec(id, WindowSize { rows: 20, columns: 40 }).await.unwrap();
        input.write_all(b"\n").await.unwrap();
        let (rest, _) = read_all(output).await;
        assert_eq!(text(&seen).to_owned() + &rest, "33 101\r\n/dev/pts/0\r\nok\r\n\r\n20 40\r\n");
        assert_eq!(running.wait().await.unwrap().code, 0);
        end(&shim).await;
    });
}

#[test]
fn it_ends_with_its_container_and_a_signal_ends_it_alone() {
    isolated("exec::it_ends_with_its_container_and_a_signal_ends_it_alone", async |machine: Machine| {
        for pid_mode in [None, Some("host".to_owned())] {
            let (shim, _) = sleeper(&machine, HostConfig { pid_mode, ..Default::default() }).await;
            let (_, signalled) = shim.exec(exec(1, &["sleep", "1000"])).await.unwrap();
            let (_, left) = shim.exec(exec(2, &["sleep", "1000"])).await.unwrap();
            shim.signal_exec(ExecId::from_bytes([1; 32]), 15).await.unwrap();
            assert_eq!(signalled.wait().await.unwrap().code, 143);
            assert!(shim.signal_exec(ExecId::from_bytes([1; 32]), 15).await.is_err(), "it is gone");
            shim.signal(9, false).await.unwrap();
            assert_eq!(left.wait().await.unwrap().code, 137);
            assert_eq!(shim.wait().await.unwrap().code, 137);
            shim.forget().await.unwrap();
            assert!(machine.is_clean(), "{:?}", machine.leftovers());
        }
    });
}

#[test]
fn a_process_that_it_leaves_behind_does_not_keep_its_end_from_being_told() {
    isolated(
        "exec::a_process_that_it_leaves_behind_does_not_keep_its_end_from_being_told",
        async |machine: Machine| {
            let (shim, _) = sleeper(&machine, HostConfig::default()).await;
            let told = run(&shim, exec(1, &["sh", "-c", "sleep 1000 & echo up"])).await;
            assert_eq!(told, ("up\n".to_owned(), String::new(), 0));
            end(&shim).await;
        },
    );
}

#[test]
fn many_run_at_once_and_one_that_is_not_read_hinders_nobody() {
    isolated("exec::many_run_at_once_and_one_that_is_not_read_hinders_nobody", async |machine: Machine| {
        let (shim, _) = sleeper(&machine, HostConfig::default()).await;
        let silent = exec(1, &["sh", "-c", "while true; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done"]);
        let (_unread, _input) = shim.attach_exec(silent.id.clone(), OUTPUT).await.unwrap();
        let (_, running) = shim.exec(silent).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 2..30 {
            let shim = shim.clone();
            tasks.spawn(
                async move { run(&shim, exec(number, &["sh", "-c", "cat /etc/passwd; exit 3"])).await },
            );
        }
        while let Some(outcome) = tasks.join_next().await {
            let (out, _, code) = outcome.unwrap();
            assert_eq!((out.contains("/home/web"), code), (true, 3));
        }
        end(&shim).await;
        assert_eq!(running.wait().await.unwrap().code, 137);
    });
}
