//! What people do with containers all day, through the same docker CLI: on `process` and on a real dockerd, in
//! turn, without limits on either side.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use holm_tests::home::Machine;
use holm_tests::samples::ready;

use crate::dockerd::Dockerd;
use crate::measure::{Finding, in_turn, time};
use crate::memory;

const OFTEN: usize = 15;
const SELDOM: usize = 5;
/// Bytes of stored output.
const STORED: &str = "52428800";
/// Bytes of output to an attached client.
const ATTACHED: &str = "209715200";
const STARTS: usize = 50;
const CLIENTS: usize = 8;

/// One of the two engines.
struct Side {
    socket: PathBuf,
}

impl Side {
    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        docker
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        docker
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let status = self.docker().args(arguments).status()?;
        ensure!(status.success(), "docker {} failed on {}", arguments.join(" "), self.socket.display());
        Ok(())
    }

    fn time(&self, arguments: &[&str]) -> Result<Duration> {
        time(|| self.run(arguments))
    }

    /// Starts that many containers with that many clients at once, and removes them untimed.
    fn start_many(&self) -> Result<Duration> {
        let names: Vec<String> = (0..STARTS).map(|number| format!("many{number}")).collect();
        let took = time(|| {
            std::thread::scope(|scope| {
                let clients: Vec<_> = names
                    .chunks(STARTS.div_ceil(CLIENTS))
                    .map(|names| scope.spawn(|| names.iter().try_for_each(|name| self.start(name))))
                    .collect();
                clients.into_iter().try_for_each(|client| match client.join() {
                    Ok(done) => done,
                    Err(_) => anyhow::bail!("a client panicked"),
                })
            })
        })?;
        self.remove(&names)?;
        Ok(took)
    }

    fn start(&self, name: &str) -> Result<()> {
        self.run(&["run", "-d", "--name", name, "busybox", "sleep", "1000"])
    }

    fn remove(&self, names: &[String]) -> Result<()> {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.run(&[&["rm", "-f"], names.as_slice()].concat())
    }

    fn pipe_in(&self) -> Result<Duration> {
        let mut script = Command::new("sh");
        script
            .args(["-c", "head -c 104857600 /dev/zero | docker run -i --rm busybox sh -c 'cat > /dev/null'"]);
        script.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        time(|| {
            ensure!(script.status()?.success(), "docker run -i failed on {}", self.socket.display());
            Ok(())
        })
    }
}

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let (_registry, home) = ready(Machine::Process)?;
    home.holm(&["pull", "-q", "busybox"]).ok();
    let dockerd = Dockerd::start()?;
    let (ours, theirs) = (Side { socket: home.socket() }, Side { socket: dockerd.socket() });
    let mut findings = Vec::new();
    let mut compare = |what: &str, times, limit, work: &dyn Fn(&Side) -> Result<Duration>| -> Result<()> {
        eprintln!("measuring {what}");
        let (ours, theirs) = in_turn(times, || work(&ours), || work(&theirs))?;
        findings.push(Finding::of_times(&format!("{what} : dockerd"), &ours, &theirs, Some(limit)));
        Ok(())
    };

    compare("run --rm busybox true", OFTEN, 1.0 / 3.0, &|side| {
        side.time(&["run", "--rm", "busybox", "true"])
    })?;
    for side in [&ours, &theirs] {
        side.start("bench")?;
        let output = format!("yes 'a line of output that is about as long as most are' | head -c {STORED}");
        side.run(&["run", "--name", "output", "busybox", "sh", "-c", &output])?;
    }
    compare("exec true", OFTEN, 0.5, &|side| side.time(&["exec", "bench", "true"]))?;
    compare("logs of 50 MiB", SELDOM, 0.1, &|side| side.time(&["logs", "output"]))?;
    let output = format!("yes 'a line of output that is about as long as most are' | head -c {ATTACHED}");
    compare("200 MiB of attached output", SELDOM, 0.2, &|side| {
        side.time(&["run", "--rm", "busybox", "sh", "-c", &output])
    })?;
    compare("100 MiB through stdin", SELDOM, 0.5, &Side::pipe_in)?;
    compare("50 starts by 8 clients", SELDOM, 1.0 / 3.0, &Side::start_many)?;
    for side in [&ours, &theirs] {
        side.remove(&["bench".to_owned(), "output".to_owned()])?;
    }
    findings.extend(memory_of_ten(
        &ours,
        &theirs,
        home.process("machine_pid")?.as_raw_nonzero().get(),
        &dockerd,
    )?);
    Ok(findings)
}

/// Engine and shims with ten containers that do nothing.
fn memory_of_ten(ours: &Side, theirs: &Side, init: i32, dockerd: &Dockerd) -> Result<Vec<Finding>> {
    let names: Vec<String> = (0..10).map(|number| format!("ten{number}")).collect();
    for side in [ours, theirs] {
        names.iter().try_for_each(|name| side.start(name))?;
    }
    let namespace = std::fs::read_link(format!("/proc/{init}/ns/pid"))?;
    let ours_holds = memory::resident_in(&namespace)?;
    let theirs_holds = memory::resident_in(&dockerd.namespace()?)?;
    for side in [ours, theirs] {
        side.remove(&names)?;
    }
    Ok(vec![
        memory::against("init, engine and shims of 10 containers : what they may hold", ours_holds, 60.0),
        memory::between("init, engine and shims of 10 containers : dockerd's", ours_holds, theirs_holds),
    ])
}
