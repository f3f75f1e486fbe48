//! Containers in shims of the built `holmd`, driven by the engine's own client. Each test runs again in mount,
//! pid and cgroup namespaces of its own, with which everything it started goes.
//!
//! Wants root, `unshare` (util-linux), a static busybox (Debian's busybox-static) and a C compiler.

#![allow(dead_code, unreachable_pub, reason = "these modules offer the engine more than the tests need")]

#[path = "../src/shim"]
mod shim {
    pub mod attached;
    pub mod bundle;
    pub mod cgroup;
    pub mod client;
    pub mod leftovers;
    pub mod message;
    pub mod protocol;
    pub mod signal;
}
#[path = "../src/container/mod.rs"]
mod container;
#[path = "shim/exec.rs"]
mod exec;
#[path = "shim/machine.rs"]
mod machine;

use holm_api::models::HostConfig;
use holm_api::stream::Channel;
use machine::{Machine, isolated, text};
use serde_json::json;
use shim::client::{ShimError, Streams};
use shim::protocol::{ExitStatus, FailureKind, Rotated, Stdin, WindowSize};
use tokio::io::AsyncWriteExt;

const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true };
const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true };

#[test]
fn output_reaches_the_log_and_the_client_and_the_exit_code_the_waiter() {
    isolated(
        "output_reaches_the_log_and_the_client_and_the_exit_code_the_waiter",
        async |machine: Machine| {
            let container = machine.container(&["sh", "-c", "echo out; echo err >&2; printf end; exit 7"]);
            let (shim, _) = container.launch().await.unwrap();
            let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
            shim.start().await.unwrap();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            while let Some((channel, bytes)) = output.next().await.unwrap() {
                if channel == Channel::Stderr { err.extend(bytes) } else { out.extend(bytes) }
            }
            assert_eq!((text(&out), text(&err)), ("out\nend", "err\n"));
            let ExitStatus { code, oom_killed, .. } = shim.wait().await.unwrap();
            assert_eq!((code, oom_killed), (7, false));
            let log = container.log();
            assert!(log.contains("{\"log\":\"out\\n\",\"stream\":\"stdout\",\"time\":\""), "{log}");
            assert!(log.contains("{\"log\":\"err\\n\",\"stream\":\"stderr\",\"time\":\""), "{log}");
            assert!(log.contains("{\"log\":\"end\",\"stream\":\"stdout\""), "{log}");
            shim.forget().await.unwrap();
            assert!(machine.is_clean(), "{:?}", machine.leftovers());
            assert_eq!(shim.wait().await.unwrap().code, 7, "from the exit file");
        },
    );
}

#[test]
fn a_signal_ends_a_container_with_128_and_its_number() {
    isolated("a_signal_ends_a_container_with_128_and_its_number", async |machine: Machine| {
        let container = machine.container(&["sh", "-c", "echo up; exec sleep 1000"]);
        let (shim, pid) = container.launch().await.unwrap();
        let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        output.next().await.unwrap().unwrap();
        let (same, exit) = shim.state().await.unwrap();
        assert_eq!((same, exit), (pid, None));
        shim.signal(9, false).await.unwrap();
        assert_eq!(shim.wait().await.unwrap().code, 137);
        assert!(matches!(shim.signal(9, false).await, Err(ShimError::Container(_))));
        shim.forget().await.unwrap();
    });
}

#[test]
fn the_end_of_the_clients_input_is_the_end_of_the_containers() {
    isolated("the_end_of_the_clients_input_is_the_end_of_the_containers", async |machine: Machine| {
        let mut container = machine.container(&["cat"]);
        container.config.stdin = Stdin::Once;
        let (shim, _) = container.launch().await.unwrap();
        let (mut output, mut input) = shim.attach(ALL).await.unwrap();
        shim.start().await.unwrap();
        let sent = vec![b'x'; 3 << 20];
        let expected = sent.len();
        let writer = tokio::spawn(async move {
            input.write_all(&sent).await.unwrap();
            input.shutdown().await.unwrap();
            input
        });
        let mut got = 0;
        while let Some((_, bytes)) = output.next().await.unwrap() {
            got += bytes.len();
        }
        assert_eq!(got, expected, "all that went in came out before the end");
        assert_eq!(shim.wait().await.unwrap().code, 0);
        drop(writer.await.unwrap());
    });
}

#[test]
fn a_container_reads_nothing_where_no_input_was_asked_for() {
    isolated("a_container_reads_nothing_where_no_input_was_asked_for", async |machine: Machine| {
        let container = machine.container(&["cat"]);
        let (shim, _) = container.launch().await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(shim.wait().await.unwrap().code, 0);
    });
}

#[test]
fn a_terminal_has_its_size_and_is_one_stream() {
    isolated("a_terminal_has_its_size_and_is_one_stream", async |machine: Machine| {
        let mut container =
            machine.container(&["sh", "-c", "stty size; tty; read line; stty size; echo got:$line >&2"]);
        container.config.terminal = Some(WindowSize { rows: 33, columns: 101 });
        container.config.stdin = Stdin::Once;
        container.spec_json["process"]["terminal"] = true.into();
        let (shim, _) = container.launch().await.unwrap();
        let (mut output, mut input) = shim.attach(ALL).await.unwrap();
        shim.start().await.unwrap();
        let mut seen = Vec::new();
        while !text(&seen).contains("/dev/pts/0\r\n") {
            seen.extend(output.next().await.unwrap().unwrap().1);
        }
        shim.resize(WindowSize { rows: 20, columns: 40 }).await.unwrap();
        input.write_all(b"hi\n").await.unwrap();
        while let Some((channel, bytes)) = output.next().await.unwrap() {
            assert_eq!(channel, Channel::Stdout);
            seen.extend(bytes);
        }
        assert_eq!(text(&seen), "33 101\r\n/dev/pts/0\r\nhi\r\n20 40\r\ngot:hi\r\n");
        assert_eq!(shim.wait().await.unwrap().code, 0);
    });
}

#[test]
fn two_clients_read_the_same_and_one_may_leave() {
    isolated("two_clients_read_the_same_and_one_may_leave", async |machine: Machine| {
        let mut container = machine.container(&["cat"]);
        container.config.stdin = Stdin::Open;
        let (shim, _) = container.launch().await.unwrap();
        let (mut one, mut writer_one) = shim.attach(ALL).await.unwrap();
        let (mut two, mut writer_two) = shim.attach(ALL).await.unwrap();
        shim.start().await.unwrap();
        writer_one.write_all(b"first").await.unwrap();
        assert_eq!(one.next().await.unwrap().unwrap().1, "first");
        assert_eq!(two.next().await.unwrap().unwrap().1, "first");
        drop((one, writer_one));
        writer_two.write_all(b"second").await.unwrap();
        assert_eq!(two.next().await.unwrap().unwrap().1, "second");
        shim.signal(9, true).await.unwrap();
        assert!(two.next().await.unwrap().is_none());
        assert_eq!(shim.wait().await.unwrap().code, 137);
    });
}

#[test]
fn a_client_that_does_not_read_holds_the_container_up_and_loses_nothing() {
    isolated(
        "a_client_that_does_not_read_holds_the_container_up_and_loses_nothing",
        async |machine: Machine| {
            let container =
                machine.container(&["sh", "-c", "head -c 3000000 /dev/zero; echo done >&2; exec sleep 1000"]);
            let (shim, _) = container.launch().await.unwrap();
            let (mut slow, _writer) =
                shim.attach(Streams { stdin: false, stdout: true, stderr: false }).await.unwrap();
            let (mut fast, _writer) =
                shim.attach(Streams { stdin: false, stdout: false, stderr: true }).await.unwrap();
            shim.start().await.unwrap();
            // What the socket, the shim's buffer and the pipe hold may be written before it is read.
            let mut got = 0;
            let done = loop {
                tokio::select! {
                    biased;
                    done = fast.next() => break done,
                    piece = slow.next() => got += piece.unwrap().unwrap().1.len(),
                }
            };
            assert_eq!(done.unwrap().unwrap().1, "done\n");
            assert!(got > 3_000_000 - (1 << 20), "the container wrote on with {got} bytes read");
            while got < 3_000_000 {
                got += slow.next().await.unwrap().unwrap().1.len();
            }
            shim.signal(9, false).await.unwrap();
            shim.wait().await.unwrap();
        },
    );
}

#[test]
fn a_client_that_never_reads_does_not_keep_the_exit_from_being_told() {
    isolated("a_client_that_never_reads_does_not_keep_the_exit_from_being_told", async |machine: Machine| {
        let container = machine.container(&["head", "-c", "300000", "/dev/zero"]);
        let (shim, _) = container.launch().await.unwrap();
        let (mut slow, _writer) = shim.attach(OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(shim.wait().await.unwrap().code, 0);
        shim.forget().await.unwrap();
        let mut got = 0;
        while let Some((_, bytes)) = slow.next().await.unwrap() {
            got += bytes.len();
        }
        assert_eq!(got, 300_000, "and what it reads in the end is all there");
    });
}

#[test]
fn a_program_that_is_not_there_fails_in_dockers_words() {
    isolated("a_program_that_is_not_there_fails_in_dockers_words", async |machine: Machine| {
        let begin = "failed to create task for container: failed to create shim task: OCI runtime create failed: \
                     runc create failed: unable to start container process: error during container init: ";
        let cases = [
            ("nope", FailureKind::NotFound, "exec: \"nope\": executable file not found in $PATH: unknown"),
            (
                "/nope",
                FailureKind::NotFound,
                "exec: \"/nope\": stat /nope: no such file or directory: unknown",
            ),
            ("/etc/passwd", FailureKind::NotExecutable, "exec: \"/etc/passwd\": permission denied: unknown"),
        ];
        for (program, kind, end) in cases {
            let Err(ShimError::Container(failure)) = machine.container(&[program]).launch().await else {
                panic!("{program} was created");
            };
            assert_eq!((failure.kind, failure.message), (kind, format!("{begin}{end}")));
            assert!(machine.is_clean(), "{:?}", machine.leftovers());
        }
    });
}

#[test]
fn a_container_that_cannot_be_made_is_explained_and_leaves_nothing() {
    isolated("a_container_that_cannot_be_made_is_explained_and_leaves_nothing", async |machine: Machine| {
        let mut container = machine.container(&["true"]);
        let bind = json!({ "destination": "/x", "type": "bind", "source": "/nope", "options": ["rbind"] });
        container.spec_json["mounts"].as_array_mut().unwrap().push(bind);
        let message = container.launch().await.unwrap_err().to_string();
        let reason = "error during container init: failed to prepare rootfs: failed to canonicalize \"/nope\": \
                      No such file or directory";
        assert!(message.contains(reason), "{message}");

        let mut container = machine.container(&["true"]);
        container.spec_json["process"]["cwd"] = "/etc/passwd".into();
        let message = container.launch().await.unwrap_err().to_string();
        assert_eq!(message, "Cannot mkdir: /etc/passwd is not a directory");

        let mut container = machine.container(&["true"]);
        container.config.rootfs.lower.push("/no/such/layer".into());
        let message = container.launch().await.unwrap_err().to_string();
        assert!(message.contains("/no/such/layer: No such file or directory"), "{message}");
        assert!(machine.is_clean(), "{:?}", machine.leftovers());
    });
}

#[test]
fn a_file_that_is_no_program_ends_the_container_with_255() {
    isolated("a_file_that_is_no_program_ends_the_container_with_255", async |machine: Machine| {
        let container = machine.container(&["/bin/no-program"]);
        let (shim, _) = container.launch().await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(shim.wait().await.unwrap().code, 255);
        assert!(
            container.log().contains("exec /bin/no-program: exec format error\\n"),
            "{}",
            container.log()
        );
    });
}

#[test]
fn a_user_is_looked_up_in_the_image_and_owns_its_streams() {
    isolated("a_user_is_looked_up_in_the_image_and_owns_its_streams", async |machine: Machine| {
        let mut container =
            machine.container(&["sh", "-c", "id -u; id -g; id -G; echo $HOME; pwd; echo ok >/dev/stderr"]);
        container.config.user = "web".to_owned();
        container.config.groups = vec!["adm".to_owned()];
        container.spec_json["process"]["cwd"] = "/new/folder".into();
        let (shim, _) = container.launch().await.unwrap();
        let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some((channel, bytes)) = output.next().await.unwrap() {
            if channel == Channel::Stderr { err.extend(bytes) } else { out.extend(bytes) }
        }
        assert_eq!((text(&out), text(&err)), ("1000\n1001\n1001 4\n/home/web\n/new/folder\n", "ok\n"));

        let mut container = machine.container(&["true"]);
        container.config.user = "nobody-here".to_owned();
        let Err(ShimError::Container(failure)) = container.launch().await else { panic!("created") };
        assert_eq!(failure.message, "unable to find user nobody-here: no matching entries in passwd file");
    });
}

#[test]
fn a_killed_shim_takes_its_container_along_and_the_next_launch_cleans_up() {
    isolated(
        "a_killed_shim_takes_its_container_along_and_the_next_launch_cleans_up",
        async |machine: Machine| {
            let container = machine.container(&["sh", "-c", "echo up; sleep 1000"]);
            let (shim, pid) = container.launch().await.unwrap();
            let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
            shim.start().await.unwrap();
            output.next().await.unwrap().unwrap();
            machine.kill_shim_of(pid);
            assert!(matches!(shim.wait().await, Err(ShimError::Gone)));
            machine.gone(pid).await;
            assert!(!machine.is_clean(), "nobody was left to remove the cgroup");
            shim.forget().await.unwrap();
            assert!(machine.is_clean(), "{:?}", machine.leftovers());

            let (_, pid) = container.launch().await.unwrap();
            machine.kill_shim_of(pid);
            machine.gone(pid).await;
            let (shim, _) = container.launch().await.unwrap();
            shim.start().await.unwrap();
            shim.signal(9, false).await.unwrap();
            shim.wait().await.unwrap();
            shim.forget().await.unwrap();
            assert!(machine.is_clean(), "{:?}", machine.leftovers());
        },
    );
}

#[test]
fn a_container_is_ended_with_nothing_left_whatever_it_is_at() {
    isolated("a_container_is_ended_with_nothing_left_whatever_it_is_at", async |machine: Machine| {
        let host = || HostConfig { pid_mode: Some("host".into()), ..Default::default() };
        let (waits, _) = machine.default_container(&["sleep", "1000"], host()).launch().await.unwrap();
        waits.end().await.unwrap();

        let (over, _) = machine.default_container(&["true"], host()).launch().await.unwrap();
        over.start().await.unwrap();
        over.wait().await.unwrap();
        over.end().await.unwrap();

        // The kernel ends the first process with its shim, and nobody the second one.
        let both = ["sh", "-c", "sleep 1000 & exec sleep 1000"];
        let (killed, pid) = machine.default_container(&both, host()).launch().await.unwrap();
        killed.start().await.unwrap();
        machine.kill_shim_of(pid);
        machine.gone(pid).await;
        killed.end().await.unwrap();
        assert!(machine.is_clean(), "{:?}", machine.leftovers());
    });
}

#[test]
fn a_shim_that_is_asked_to_end_kills_its_container_and_tells_the_exit() {
    isolated(
        "a_shim_that_is_asked_to_end_kills_its_container_and_tells_the_exit",
        async |machine: Machine| {
            let container = machine.container(&["sleep", "1000"]);
            let (shim, pid) = container.launch().await.unwrap();
            shim.start().await.unwrap();
            machine.signal_shim_of(pid, 15);
            assert_eq!(shim.wait().await.unwrap().code, 137);
        },
    );
}

#[test]
fn a_log_that_was_rotated_away_is_compressed_when_the_exit_is_told() {
    isolated("a_log_that_was_rotated_away_is_compressed_when_the_exit_is_told", async |machine: Machine| {
        let script = "n=0; while [ $n -lt 2000 ]; do n=$((n+1)); echo $n; done";
        let mut container = machine.container(&["sh", "-c", script]);
        let log = container.config.log.as_mut().unwrap();
        (log.max_size, log.max_files, log.rotated) = (Some(10_000), 2, Rotated::Compressed);
        let path = log.path.clone();
        let (shim, _) = container.launch().await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(shim.wait().await.unwrap().code, 0);
        let with_end = |end: &str| path.with_file_name(format!("log{end}"));
        let there: Vec<_> =
            ["", ".1", ".1.gz", ".1.gz.new"].into_iter().filter(|end| with_end(end).exists()).collect();
        assert_eq!(there, ["", ".1.gz"]);
        let unpacked = std::process::Command::new("gzip").arg("-dc").arg(with_end(".1.gz")).output().unwrap();
        let (first, rest) = (text(&unpacked.stdout), std::fs::read_to_string(&path).unwrap());
        assert!(first.starts_with("{\"log\":\"1\\n\""), "{first}");
        assert_eq!(first.lines().count() + rest.lines().count(), 2000);
    });
}

#[test]
fn a_hundred_layers_make_one_root() {
    isolated("a_hundred_layers_make_one_root", async |machine: Machine| {
        let mut container = machine.container(&["sh", "-c", "ls /layers | wc -l"]);
        for number in 0..100 {
            container.add_layer(&format!("layers/{number}"));
        }
        let (shim, _) = container.launch().await.unwrap();
        let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(output.next().await.unwrap().unwrap().1, "100\n");
        shim.wait().await.unwrap();
    });
}

#[test]
fn a_container_by_dockers_defaults_is_kept_from_the_machine() {
    isolated("a_container_by_dockers_defaults_is_kept_from_the_machine", async |machine: Machine| {
        machine.add_probe();
        let told = machine.run_default(&["/bin/probe"], HostConfig::default()).await;
        assert_eq!(
            told,
            "vsock EPERM\ninet 0\nclone 0\nclone-user EPERM\nclone3 ENOSYS\nunshare EPERM\nnull 0\nmknod 0\n\
             disk EPERM\nsysctl EROFS\n"
        );
        let unconfined =
            HostConfig { security_opt: Some(vec!["seccomp=unconfined".into()]), ..Default::default() };
        let told = machine.run_default(&["/bin/probe"], unconfined).await;
        assert!(told.starts_with("vsock EPERM\ninet 0\nclone 0\nclone-user 0\n"), "{told}");
        assert!(told.contains("mknod 0\ndisk EPERM\n"), "{told}");
        // A profile of one's own, as runc reads masks: namespaces are refused, and nothing else is.
        let own = json!({ "defaultAction": "SCMP_ACT_ALLOW", "archMap": [{ "architecture": "SCMP_ARCH_X86_64" }],
            "syscalls": [
                { "names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
                  "args": [{ "index": 0, "value": 0x1000_0000, "valueTwo": 0x1000_0000,
                             "op": "SCMP_CMP_MASKED_EQ" }] },
                { "name": "mknod", "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_TIME"] } },
                { "name": "mknodat", "action": "SCMP_ACT_ERRNO", "excludes": { "caps": ["CAP_SYS_TIME"] } },
            ] });
        let own = HostConfig { security_opt: Some(vec![format!("seccomp={own}")]), ..Default::default() };
        let told = machine.run_default(&["/bin/probe"], own).await;
        assert!(told.starts_with("vsock EPERM\ninet 0\nclone 0\nclone-user ENOSYS\n"), "{told}");
        assert!(told.contains("mknod EPERM\n"), "{told}");
    });
}

#[test]
fn a_container_by_dockers_defaults_has_its_names_mounts_and_limits() {
    isolated("a_container_by_dockers_defaults_has_its_names_mounts_and_limits", async |machine: Machine| {
        let script = "hostname; cat /etc/hostname; mount | grep -c ^cgroup; touch /sys/x 2>&1; cat /proc/keys; \
                      ls /dev | grep -v core; ls -A /proc/acpi; grep CapEff /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
        let told = machine.run_default(&["sh", "-c", script], HostConfig::default()).await;
        assert_eq!(
            told,
            "box\nbox\n1\ntouch: /sys/x: Read-only file system\nfd\nfull\nmqueue\nnull\nptmx\npts\n\
             random\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\nCapEff:\t00000000a80425fb\n0\n"
        );
        let read_only = HostConfig { readonly_rootfs: Some(true), ..Default::default() };
        let told =
            machine.run_default(&["sh", "-c", "touch /x 2>&1; touch /dev/shm/x && echo ok"], read_only).await;
        assert_eq!(told, "touch: /x: Read-only file system\nok\n");
    });
}

#[test]
fn a_program_finds_no_signal_ignored_or_blocked() {
    isolated("a_program_finds_no_signal_ignored_or_blocked", async |machine: Machine| {
        let told =
            machine.run_default(&["grep", "Sig[BI]", "/proc/self/status"], HostConfig::default()).await;
        let sets: Vec<_> = told
            .lines()
            .map(|line| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap())
            .collect();
        // 32 and 33 are the C library's own, and none that can be sent or caught by its users.
        assert_eq!(sets.iter().map(|set| set & 0x7fff_ffff).collect::<Vec<_>>(), [0, 0], "{told}");
    });
}

#[test]
fn a_small_init_passes_signals_on_and_reaps() {
    isolated("a_small_init_passes_signals_on_and_reaps", async |machine: Machine| {
        let with_init = || HostConfig { init: Some(true), ..Default::default() };
        // Orphans of the first shell become children of process 1, which must not keep them.
        let script = "sh -c 'sleep 0.01 & exec true'; while sleep 0.05; do ls /proc/[0-9]*/exe | wc -l; break; done; \
                      cat /proc/1/comm; exit 3";
        let container = machine.default_container(&["sh", "-c", script], with_init());
        let (told, code) = container.run().await;
        assert!(told.ends_with("docker-init\n"), "{told}");
        assert_eq!(code, 3);

        let script = "trap 'echo got; exit 4' TERM; echo up; while true; do sleep 0.01; done";
        let container = machine.default_container(&["sh", "-c", script], with_init());
        let (shim, _) = container.launch().await.unwrap();
        let (mut output, _) = shim.attach(OUTPUT).await.unwrap();
        shim.start().await.unwrap();
        assert_eq!(output.next().await.unwrap().unwrap().1, "up\n");
        shim.signal(15, false).await.unwrap();
        assert_eq!(output.next().await.unwrap().unwrap().1, "got\n");
        assert_eq!(shim.wait().await.unwrap().code, 4);

        let (told, code) = machine.default_container(&["nope"], with_init()).run().await;
        assert_eq!(
            (told.split_once("] ").unwrap().1, code),
            ("exec nope failed: No such file or directory\n", 127)
        );
    });
}

#[test]
fn a_container_that_shares_the_machines_pids_leaves_none_of_its_own() {
    isolated("a_container_that_shares_the_machines_pids_leaves_none_of_its_own", async |machine: Machine| {
        let host = HostConfig { pid_mode: Some("host".into()), ..Default::default() };
        let container = machine.default_container(&["sh", "-c", "sleep 1000 & echo up"], host);
        assert_eq!(container.run().await, ("up\n".to_owned(), 0));
        assert!(machine.is_clean(), "{:?}", machine.leftovers());
    });
}

#[test]
fn a_shim_needs_less_than_a_megabyte_of_its_own() {
    isolated("a_shim_needs_less_than_a_megabyte_of_its_own", async |machine: Machine| {
        let container = machine.default_container(&["sleep", "1000"], HostConfig::default());
        let (shim, pid) = container.launch().await.unwrap();
        shim.start().await.unwrap();
        let kibibytes = machine.own_memory_of(machine.shim_of(pid));
        assert!(kibibytes < 1024, "{kibibytes} KiB");
        shim.signal(9, false).await.unwrap();
        shim.wait().await.unwrap();
    });
}
