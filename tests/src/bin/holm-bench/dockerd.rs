//! A real dockerd with containerd and runc, to be measured against. It runs in namespaces of its own, on a Debian
//! of its own that is made once and kept in the user's cache.

use std::fs::File;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holm_tests::cache;
use tempfile::TempDir;

const SCRIPT: &str = include_str!("dockerd.sh");
/// The first start makes the Debian.
const DEADLINE: Duration = Duration::from_secs(600);
const RETRY: Duration = Duration::from_millis(200);
const BUSYBOX: &str = "/bin/busybox";

/// Ends with the value.
pub(crate) struct Dockerd {
    work: TempDir,
    process: Child,
}

impl Dockerd {
    /// Returns when it answers and has the image `busybox`.
    pub(crate) fn start() -> Result<Dockerd> {
        let work = tempfile::tempdir()?;
        let log = File::create(work.path().join("log"))?;
        let process = Command::new("bash")
            .args(["-eu", "-c", SCRIPT, "bash"])
            .args([&cache::folder()?.join("dockerd-28"), work.path()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut dockerd = Dockerd { work, process };
        let end = Instant::now() + DEADLINE;
        while UnixStream::connect(dockerd.socket()).is_err() {
            let ended = dockerd.process.try_wait()?.is_some() || Instant::now() > end;
            ensure!(!ended, "dockerd does not start: {}", dockerd.log());
            std::thread::sleep(RETRY);
        }
        dockerd.import_busybox()?;
        Ok(dockerd)
    }

    /// Where its API listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.work.path().join("run/docker.sock")
    }

    /// Its first process, in all its namespaces.
    pub(crate) fn first_process(&self) -> Result<u32> {
        // unshare(1) itself is outside; its only child is the namespace's first process.
        let unshare = self.process.id();
        let children = std::fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"))?;
        let first = children.split_whitespace().next().context("dockerd is gone")?;
        Ok(first.parse()?)
    }

    /// Its processes and those of its containers: all that are in its pid namespace.
    pub(crate) fn namespace(&self) -> Result<PathBuf> {
        Ok(std::fs::read_link(format!("/proc/{}/ns/pid", self.first_process()?))?)
    }

    fn import_busybox(&self) -> Result<()> {
        let folder = tempfile::tempdir_in(self.work.path())?;
        let made =
            "mkdir bin && cp \"$1\" bin/ && bin/busybox --install bin && tar c bin | docker import - busybox";
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", made, "sh", BUSYBOX]).current_dir(folder.path());
        let output = command.env("DOCKER_HOST", format!("unix://{}", self.socket().display())).output()?;
        ensure!(output.status.success(), "docker import: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.work.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // unshare(1) takes the whole namespace with it, but not the cgroups.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = Command::new("find")
            .args(["/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/holm-bench*", "-delete"])
            .stderr(Stdio::null())
            .status();
    }
}
