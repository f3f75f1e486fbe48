//! A place to run shims in: namespaces of its own, a root file system made of busybox, and a look at what is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use holm_api::ContainerId;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::shim::client::{self, ShimClient, ShimError};
use crate::shim::protocol::{LogFile, Overlay, ShimConfig, Stdin};

const INSIDE: &str = "HOLM_TEST_INSIDE";
const APPLETS: [&str; 13] =
    ["sh", "cat", "sleep", "true", "head", "stty", "tty", "id", "ls", "wc", "mount", "grep", "env"];

/// Runs `body` in namespaces of its own, by running the test called `name` again.
pub fn isolated(name: &str, body: impl AsyncFnOnce(Machine)) {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().expect("a test has a program");
        let status = Command::new("unshare")
            .args(["--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--mount-proc"])
            .arg(own)
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("unshare (util-linux) runs");
        assert!(status.success(), "{name} failed inside: {status}");
        return;
    }
    let cgroup2 = mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), None::<&str>);
    cgroup2.expect("cgroup2 can be mounted: this test wants root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(body(Machine::new()));
}

/// What the tests print on.
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// Folders for shims and containers.
pub struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::with_prefix("holm-shim-").expect("a folder");
        let image = folder.path().join("image");
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(image.join(name)).expect("a folder");
        }
        fs::copy("/bin/busybox", image.join("bin/busybox")).expect("busybox-static is installed");
        for applet in APPLETS {
            symlink("busybox", image.join("bin").join(applet)).expect("a link");
        }
        fs::write(image.join("bin/no-program"), "neither ELF nor script").expect("a file");
        fs::set_permissions(image.join("bin/no-program"), PermissionsExt::from_mode(0o755)).expect("a mode");
        fs::write(
            image.join("etc/passwd"),
            "root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n",
        )
        .expect("a file");
        fs::write(image.join("etc/group"), "root:x:0:\nadm:x:4:\nweb:x:1001:\n").expect("a file");
        fs::create_dir_all(folder.path().join("run")).expect("a folder");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where its containers' cgroups are: tests run at the same time.
    fn cgroup(&self) -> PathBuf {
        self.path().file_name().expect("a temporary folder has a name").into()
    }

    /// A container that runs `args`, not launched.
    pub fn container(&self, args: &[&str]) -> TestContainer {
        let id = ContainerId::from_bytes(rand_bytes());
        let folder = self.path().join(id.short());
        let bundle = folder.join("bundle");
        for name in ["upper", "work", "bundle/rootfs"] {
            fs::create_dir_all(folder.join(name)).expect("a folder");
        }
        let config = ShimConfig {
            socket: self.path().join(format!("{}.sock", id.short())),
            runtime: self.path().join("run"),
            rootfs: Overlay {
                lower: vec![self.path().join("image")],
                upper: folder.join("upper"),
                work: folder.join("work"),
                target: bundle.join("rootfs"),
            },
            user: String::new(),
            groups: Vec::new(),
            terminal: None,
            stdin: Stdin::Null,
            log: Some(LogFile { path: folder.join("log"), max_size: None, max_files: 1 }),
            exit_file: folder.join("exit.json"),
            id,
        };
        let spec_json = minimal_spec(&config, &Path::new("/").join(self.cgroup()), args);
        TestContainer { config, spec_json, bundle, folder }
    }

    /// What shims have left in the kernel and on disk.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        let below = |folder: &Path| {
            let entries = fs::read_dir(folder).into_iter().flatten();
            entries.map(|entry| entry.expect("an entry").path()).collect::<Vec<_>>()
        };
        let mut left = below(&self.path().join("run"));
        left.extend(
            below(&Path::new("/sys/fs/cgroup").join(self.cgroup())).into_iter().filter(|path| path.is_dir()),
        );
        left
    }

    /// Whether there is none of it.
    pub fn is_clean(&self) -> bool {
        self.leftovers().is_empty()
    }

    /// Kills the shim whose container's first process is `pid`, in the way nobody can prepare for.
    pub fn kill_shim_of(&self, pid: i32) {
        self.signal_shim_of(pid, 9);
    }

    /// Sends a signal to the parent of `pid`.
    pub fn signal_shim_of(&self, pid: i32, signal: i32) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
        let parent = Pid::from_raw(parent.trim().parse().expect("a number"));
        assert_ne!(parent, Pid::this());
        kill(parent, Signal::try_from(signal).expect("a signal")).expect("it runs");
    }

    /// Returns when `pid` has ended.
    pub async fn gone(&self, pid: i32) {
        // This test is the first process of its pid namespace, so orphans end as its children.
        let reaped = tokio::task::spawn_blocking(move || nix::sys::wait::waitpid(Pid::from_raw(pid), None));
        reaped.await.expect("a thread").expect("an orphan that was ours to reap");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Absent where no container was created, and not empty where a test failed.
        let _ = fs::remove_dir(Path::new("/sys/fs/cgroup").join(self.cgroup()));
    }
}

/// One container of a test.
pub struct TestContainer {
    pub config: ShimConfig,
    pub spec_json: Value,
    bundle: PathBuf,
    folder: PathBuf,
}

impl TestContainer {
    /// Launches it in a shim of the built `holmd`.
    pub async fn launch(&self) -> Result<(ShimClient, i32), ShimError> {
        let spec = serde_json::from_value(self.spec_json.clone()).expect("a spec");
        let program = Path::new(env!("CARGO_BIN_EXE_holmd"));
        client::launch(program, &self.bundle, &spec, &self.config).await
    }

    /// Adds a layer that holds one file.
    pub fn add_layer(&mut self, file: &str) {
        let layer =
            self.folder.join(format!("layer-{}", self.config.rootfs.lower.len())).join("l".repeat(64));
        let path = layer.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, "").expect("a file");
        self.config.rootfs.lower.insert(0, layer);
    }

    /// All of its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).expect("a log")
    }
}

fn rand_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut random = fs::File::open("/dev/urandom").expect("random bytes");
    std::io::Read::read_exact(&mut random, &mut bytes).expect("random bytes");
    bytes
}

fn minimal_spec(config: &ShimConfig, cgroup: &Path, args: &[&str]) -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": args,
            "env": ["PATH=/bin"],
            "cwd": "/",
        },
        "root": { "path": config.rootfs.target },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        ],
        "linux": {
            "cgroupsPath": cgroup.join(config.id.as_str()),
            "namespaces": [
                { "type": "pid" }, { "type": "mount" }, { "type": "ipc" }, { "type": "uts" }, { "type": "network" },
            ],
        },
    })
}
