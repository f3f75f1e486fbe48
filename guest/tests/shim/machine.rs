//! A place to run shims in: namespaces of its own, a root file system made of busybox, and a look at what is left.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use holm_api::ContainerId;
use holm_api::models::{ContainerConfig, HostConfig};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::container::abilities::HostAbilities;
use crate::container::etc_files::{EtcContent, EtcFiles};
use crate::container::{Joined, SpecInput, check, spec};
use crate::shim::client::{self, ShimClient, ShimError, Streams};
use crate::shim::protocol::{LogFile, Overlay, Rotated, ShimConfig, Stdin, Vsock};

/// A test that takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(60);
const INSIDE: &str = "HOLM_TEST_INSIDE";
const APPLETS: [&str; 16] = [
    "sh", "cat", "sleep", "true", "head", "stty", "tty", "id", "ls", "wc", "mount", "grep", "env",
    "hostname", "touch", "readlink",
];

/// Runs `body` in namespaces of its own, by running the test called `name` again.
pub fn isolated(name: &str, body: impl AsyncFnOnce(Machine)) {
    if std::env::var_os(INSIDE).is_none() {
        let own = std::env::current_exe().expect("a test has a program");
        // As under nohup(1), which no container may notice.
        let status = Command::new("env")
            .args(["--ignore-signal=HUP", "unshare"])
            .args(["--mount", "--pid", "--cgroup", "--fork", "--kill-child", "--mount-proc"])
            .arg(own)
            .args(["--exact", name, "--nocapture"])
            .env(INSIDE, "1")
            .status()
            .expect("env (coreutils) and unshare (util-linux) run");
        assert!(status.success(), "{name} failed inside: {status}");
        return;
    }
    let cgroup2 = mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), MsFlags::empty(), None::<&str>);
    cgroup2.expect("cgroup2 can be mounted: this test wants root");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let ended = runtime.block_on(async { timeout(DEADLINE, body(Machine::new())).await });
    ended.expect("the test ends before its deadline");
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
        let machine = Self { folder };
        machine.add_init();
        machine
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
            sources: Vec::new(),
            terminal: None,
            stdin: Stdin::Null,
            log: Some(LogFile {
                path: folder.join("log"),
                max_size: None,
                max_files: 1,
                rotated: Rotated::Plain,
            }),
            vsock: Vsock::Refused,
            exit_file: folder.join("exit.json"),
            id,
        };
        let spec_json = minimal_spec(&config, &Path::new("/").join(self.cgroup()), args);
        TestContainer { config, spec_json, bundle, folder }
    }

    /// A container of Docker's defaults but for `host`, not launched.
    pub fn default_container(&self, args: &[&str], host: HostConfig) -> TestContainer {
        let mut container = self.container(&[]);
        let files = EtcFiles::in_folder(&container.folder);
        files.write(&EtcContent { hostname: "box".into(), ..Default::default() }).expect("files");
        let config = ContainerConfig {
            cmd: Some(args.iter().map(ToString::to_string).collect()),
            hostname: Some("box".into()),
            ..Default::default()
        };
        let host = HostConfig { cgroup_parent: Some(self.cgroup().display().to_string()), ..host };
        let input = SpecInput {
            id: &container.config.id,
            config: &config,
            host: &host,
            rootfs: &container.config.rootfs.target,
            files: &files,
            mounts: &[],
            joined: Joined::default(),
            program: &self.path().join("holmd"),
            abilities: &HostAbilities::probe().expect("abilities"),
        };
        let warnings = check(&input).expect("a container");
        let spec = spec(&input).expect("a spec");
        assert!(warnings.is_empty(), "{warnings:?}");
        container.spec_json = serde_json::to_value(spec).expect("a spec");
        container
    }

    /// Runs a container of Docker's defaults but for `host`, which must succeed.
    pub async fn run_default(&self, args: &[&str], host: HostConfig) -> String {
        let (told, code) = self.default_container(args, host).run().await;
        assert_eq!(code, 0, "{told}");
        told
    }

    /// Puts `probe` into the image.
    pub fn add_probe(&self) {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shim/probe.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-static", "-o"]).arg(self.path().join("image/bin/probe")).arg(source);
        assert!(compiler.status().expect("a C compiler is installed").success());
    }

    /// Puts `holmd` where containers get their small init from, and what it is linked with into the image: the one
    /// that is built for tests is no static program.
    fn add_init(&self) {
        let program = env!("CARGO_BIN_EXE_holmd");
        fs::copy(program, self.path().join("holmd")).expect("holmd is built");
        let listed = Command::new("ldd").arg(program).output().expect("ldd runs").stdout;
        let words = text(&listed).split_whitespace().filter(|word| word.starts_with('/'));
        for library in words {
            let place = self.path().join("image").join(&library[1..]);
            fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
            fs::copy(library, place).expect("a library");
        }
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

    /// Sends a signal to the shim whose container's first process is `pid`.
    pub fn signal_shim_of(&self, pid: i32, signal: i32) {
        let shim = Pid::from_raw(self.shim_of(pid));
        kill(shim, Signal::try_from(signal).expect("a signal")).expect("it runs");
    }

    /// The shim whose container's first process is `pid`.
    pub fn shim_of(&self, pid: i32) -> i32 {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
        let parent = parent.trim().parse().expect("a number");
        assert_ne!(parent, Pid::this().as_raw());
        parent
    }

    /// Kibibytes of heap, stack and the like of a process; what it has of its program differs between builds.
    pub fn own_memory_of(&self, pid: i32) -> u64 {
        let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it runs");
        let (mut of_file, mut own) = (false, 0);
        for line in maps.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            match words[..] {
                ["Anonymous:", size, "kB"] if !of_file => own += size.parse::<u64>().expect("a number"),
                [range, ..] if range.contains('-') => {
                    of_file = words.last().is_some_and(|name| name.starts_with('/'))
                }
                _ => {}
            }
        }
        own
    }

    /// Returns when `pid` has ended.
    pub async fn gone(&self, pid: i32) {
        let pid = rustix::process::Pid::from_raw(pid).expect("a process");
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return };
        let ended = move || poll(&mut [PollFd::new(&process, PollFlags::IN)], None);
        tokio::task::spawn_blocking(ended).await.expect("a thread").expect("a process can be waited for");
    }
}

impl Drop for Machine {
    /// The end of the namespaces ends all processes, but a cgroup stays until somebody removes it.
    fn drop(&mut self) {
        let folder = Path::new("/sys/fs/cgroup").join(self.cgroup());
        let deadline = Instant::now() + Duration::from_secs(5);
        // Absent where no container was created; the shim of one that was not forgotten may be removing it as well.
        let _ = fs::write(folder.join("cgroup.kill"), "1");
        while folder.exists() && Instant::now() < deadline {
            for container in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(container.path());
            }
            // Busy until the killed processes are gone.
            let _ = fs::remove_dir(&folder);
        }
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

    /// Runs it to its end: all that it wrote, and its exit code.
    pub async fn run(&self) -> (String, i32) {
        let (shim, _) = self.launch().await.expect("it is created");
        let streams = Streams { stdin: false, stdout: true, stderr: true };
        let (mut output, _) = shim.attach(streams).await.expect("it lives");
        shim.start().await.expect("it starts");
        let mut told = Vec::new();
        while let Some((_, bytes)) = output.next().await.expect("it lives") {
            told.extend(bytes);
        }
        let code = shim.wait().await.expect("it ends").code;
        shim.forget().await.expect("it lingers");
        (text(&told).to_owned(), code)
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
