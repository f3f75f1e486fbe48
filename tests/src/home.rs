//! A folder of their own for the built programs, as if a user had just installed them: settings, a daemon that
//! the first command starts, and its end, whatever happens to the test.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use rustix::time::Timespec;
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ran, run};

/// Between SIGTERM, on which a daemon stops its containers, and SIGKILL.
const END_DEADLINE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// What containers run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Namespaces of this computer. Needs root.
    Process,
    /// A virtual machine.
    Qemu,
}

impl Machine {
    /// As the settings call it.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Process => "process",
            Machine::Qemu => "qemu",
        }
    }
}

/// Declares tests once a kind of machine: `on_every_machine!(a_story, …)` calls `fn a_story(machine: Machine)`.
#[macro_export]
macro_rules! on_every_machine {
    ($($story:ident),+ $(,)?) => {
        mod process { $(#[test] fn $story() { super::$story($crate::home::Machine::Process) })+ }
        mod qemu { $(#[test] fn $story() { super::$story($crate::home::Machine::Qemu) })+ }
    };
}

/// The folder where cargo and `make build` put the programs.
pub fn programs() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    workspace.expect("the tests are a folder of the workspace").join("target/release")
}

/// One `HOLM_HOME`.
pub struct Home {
    folder: TempDir,
    machine: Machine,
}

impl Home {
    /// Writes settings; starts nothing. `mirrors` are asked before Docker Hub.
    pub fn new(machine: Machine, mirrors: &[String]) -> Result<Home> {
        let holm = programs().join("holm");
        ensure!(holm.is_file(), "no {}: `make build` makes it", holm.display());
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700))?;
        let home = Home { folder, machine };
        home.set(&format!(
            "machine = \"{}\"\ncpus = 2\nmemory = \"1GiB\"\ndisk-size = \"8GiB\"\nregistry-mirrors = {mirrors:?}\n",
            machine.name()
        ))?;
        Ok(home)
    }

    /// Replaces the settings' text; a running daemon keeps the old ones.
    pub fn set(&self, settings: &str) -> Result<()> {
        Ok(fs::write(self.folder.path().join("settings.toml"), settings)?)
    }

    /// Adds a line to the settings' text.
    pub fn add(&self, line: &str) -> Result<()> {
        let path = self.folder.path().join("settings.toml");
        let text = fs::read_to_string(&path)?;
        self.set(&format!("{text}{line}\n"))
    }

    /// What containers run in here.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the Engine API listens.
    pub fn socket(&self) -> PathBuf {
        self.path().join("run/docker.sock")
    }

    /// The value of `DOCKER_HOST` for other clients.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A command line of `holm` that has not been started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(programs().join("holm"));
        command.args(arguments);
        self.adopt(&mut command);
        command
    }

    /// Runs `holm` to its end.
    pub fn holm(&self, arguments: &[&str]) -> Ran {
        run(self.command(arguments), b"")
    }

    /// Runs `holm` to its end with something to read.
    pub fn holm_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        run(self.command(arguments), input)
    }

    /// Runs the real docker client against our socket.
    pub fn docker(&self, arguments: &[&str]) -> Ran {
        self.docker_at(&self.docker_host(), arguments)
    }

    /// Runs the real docker client against another address; global flags come first among the arguments.
    pub fn docker_at(&self, host: &str, arguments: &[&str]) -> Ran {
        let mut command = self.docker_command(arguments);
        command.env("DOCKER_HOST", host);
        run(command, b"")
    }

    /// A command line of the real docker client that has not been started.
    pub fn docker_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(arguments).env("DOCKER_HOST", self.docker_host());
        self.adopt(&mut command);
        command
    }

    /// The daemon's own account of itself; an error where none runs.
    pub fn status(&self) -> Result<Value> {
        let mut stream = UnixStream::connect(self.path().join("run/daemon.sock"))?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(b"\"status\"\n")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let mut reply: Value = serde_json::from_str(&line)?;
        Ok(reply["status"].take())
    }

    /// The process of the daemon (`daemon_pid`) or its machine (`machine_pid`).
    pub fn process(&self, which: &str) -> Result<Pid> {
        let status = self.status()?;
        let number = status[which].as_i64().and_then(|number| i32::try_from(number).ok());
        number.and_then(Pid::from_raw).with_context(|| format!("no {which} in {status}"))
    }

    /// The machine's engine. Only on `process`, where it can be seen from here.
    pub fn engine(&self) -> Result<Pid> {
        let engine = children(self.process("machine_pid")?, "engine")?.pop();
        engine.context("init has no engine")
    }

    /// Those who mount folders of this computer, as long as the engine that has started them is there. Only on
    /// `process`.
    pub fn pumps(&self) -> Result<Vec<Pid>> {
        children(self.engine()?, "pump")
    }

    /// Kills it at once, and returns when it is gone.
    pub fn kill(&self, which: &str) -> Result<()> {
        end(self.process(which)?, Signal::KILL).map(|_| ())
    }

    /// What the daemon and the machine's console said, for a test that failed.
    fn last_words(&self) -> String {
        ["run/daemon.log", "run/machine/console.log"]
            .map(|name| {
                let text = fs::read(self.path().join(name)).unwrap_or_default();
                format!("--- {name}\n{}\n", String::from_utf8_lossy(&text))
            })
            .concat()
    }

    /// Nothing of the user's own configuration reaches the programs.
    fn adopt(&self, command: &mut Command) {
        for name in
            ["DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "HOLM_MACHINE"]
        {
            command.env_remove(name);
        }
        if !command.get_envs().any(|(name, _)| name == "DOCKER_HOST") {
            command.env_remove("DOCKER_HOST");
        }
        command
            .env("HOLM_HOME", self.path())
            .env("HOME", self.path())
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8");
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Ok(daemon) = self.process("daemon_pid") {
            match end(daemon, Signal::TERM) {
                Ok(true) => {}
                _ => eprintln!("the daemon of {} did not end by itself", self.path().display()),
            }
        }
        if thread::panicking() {
            eprintln!("{}", self.last_words());
        }
    }
}

/// Processes of one kind that the process has started.
fn children(parent: Pid, kind: &str) -> Result<Vec<Pid>> {
    let parent = parent.as_raw_nonzero();
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{parent}/task"))? {
        for child in fs::read_to_string(thread?.path().join("children"))?.split_whitespace() {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).nth(1) == Some(kind.as_bytes()) {
                found.extend(Pid::from_raw(child.parse()?));
            }
        }
    }
    Ok(found)
}

/// Sends the signal and waits for the end; a process that does not end is killed, and the answer is `false`.
pub fn end(process: Pid, signal: Signal) -> Result<bool> {
    let descriptor = pidfd_open(process, PidfdFlags::empty())?;
    pidfd_send_signal(&descriptor, signal)?;
    let mut ended = [PollFd::new(&descriptor, PollFlags::IN)];
    if poll(&mut ended, Some(&END_DEADLINE))? > 0 {
        return Ok(true);
    }
    pidfd_send_signal(&descriptor, Signal::KILL)?;
    poll(&mut ended, Some(&END_DEADLINE))?;
    Ok(false)
}
