//! One container's cgroup (cgroup v2): who is in it, whether memory ran out, and its end.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use oci_spec::runtime::Spec;

use super::signal;

/// Where the hierarchy is mounted, as libcontainer takes for granted.
const ROOT: &str = "/sys/fs/cgroup";
/// How long killed processes may take to leave.
const REMOVE_DEADLINE: Duration = Duration::from_secs(5);

/// A cgroup by its folder, which need not exist.
#[derive(Clone, Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
}

impl Cgroup {
    /// The one that a spec names.
    pub(super) fn of(spec: &Spec) -> Self {
        let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
        let path = path.unwrap_or(Path::new("/"));
        Self { folder: Path::new(ROOT).join(path.strip_prefix("/").unwrap_or(path)) }
    }

    /// The one that a process is in.
    pub(super) fn of_process(pid: i32) -> io::Result<Self> {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        let path = path.ok_or_else(|| io::Error::other("the process is in no cgroup"))?;
        Ok(Self { folder: Path::new(ROOT).join(path) })
    }

    /// Opens its folder, for clone3(2).
    pub(super) fn open(&self) -> io::Result<File> {
        File::open(&self.folder)
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether the kernel killed one of its processes for want of memory.
    pub(super) fn oom_killed(&self) -> bool {
        // Without the memory controller there is no such file, and no limit to hit.
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        let kills = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
        kills.is_some_and(|count| count.trim() != "0")
    }

    /// Sends a signal to every process in it.
    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        if signal == libc::SIGKILL {
            // Unlike a walk through the list, this misses no process that is being born.
            return fs::write(self.folder.join("cgroup.kill"), "1");
        }
        for line in fs::read_to_string(self.folder.join("cgroup.procs"))?.lines() {
            let Ok(pid) = line.parse() else { continue };
            match signal::send(pid, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Ok(())
    }

    /// Ends every process in it and removes it, with those below it.
    pub(super) fn remove(&self) -> io::Result<()> {
        if self.folder == Path::new(ROOT) || !self.folder.exists() {
            return Ok(());
        }
        self.signal(libc::SIGKILL)?;
        let deadline = Instant::now() + REMOVE_DEADLINE;
        let mut pause = Duration::from_millis(1);
        loop {
            // rmdir answers EBUSY until the last killed process is gone, and for a moment after that.
            match remove_tree(&self.folder) {
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                other => return other,
            }
        }
    }
}

fn remove_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
