//! Images on `process` against dockerd 28: pulled cold from one registry's storage, saved and loaded; and what the
//! engine holds while it pulls large layers. Both end with what they wrote on the disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Home, Machine};
use holm_tests::registry::Registry;
use holm_tests::samples;

use crate::dockerd::Dockerd;
use crate::measure::{Finding, Limit, in_turn, median, time};
use crate::memory;

const TIMES: usize = 3;
const LAYERS: u32 = 6;
/// Before compression, which leaves 58 % of it: 218 MB to download.
const LAYER_BYTES: usize = 62_600_000;
/// A tenth of the layers that people have: what they hold does not depend on their length.
const LONG_LAYERS: u32 = 10;
const LONG_LAYER_BYTES: usize = 50_000_000;
/// MiB over what the engine holds when idle.
const PULL_MEMORY: f64 = 64.0;
const SAMPLE: Duration = Duration::from_millis(20);

/// The other engine, with the registry as it sees it.
struct Other {
    dockerd: Dockerd,
    registry: Registry,
    folder: tempfile::TempDir,
}

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let registry = Registry::start()?;
    let image = samples::large(LAYERS, LAYER_BYTES)?;
    registry.push("large", "latest", &image)?;
    let megabytes: usize = image.layers.iter().map(|layer| layer.bytes.len()).sum::<usize>() / 1_000_000;
    drop(image);
    let home = Home::new(Machine::Process, &[])?;
    home.holm(&["machine", "start"]).ok();
    let dockerd = Dockerd::start()?;
    let beside = registry.beside(dockerd.first_process()?)?;
    let other = Other { dockerd, registry: beside, folder: tempfile::tempdir()? };

    let mut findings = pulls(&home, &registry, &other, megabytes)?;
    findings.extend(archives(&home, &registry, &other, megabytes)?);
    drop(other);
    findings.push(held(&home, &registry)?);
    Ok(findings)
}

fn pulls(home: &Home, registry: &Registry, other: &Other, megabytes: usize) -> Result<Vec<Finding>> {
    let ours = format!("{}/large", registry.host());
    let theirs = format!("{}/large", other.registry.host());
    let mut processors = (Vec::new(), Vec::new());
    let (times, others) = in_turn(
        TIMES,
        || {
            let before = our_processor_seconds(home)?;
            let took = time(|| {
                home.holm(&["pull", "-q", &ours]).ok();
                sync(home.path())
            })?;
            processors.0.push(our_processor_seconds(home)? - before);
            home.holm(&["rmi", &ours]).ok();
            Ok(took)
        },
        || {
            let namespace = other.dockerd.namespace()?;
            let before = processor_seconds_in(&namespace)?;
            let took = time(|| {
                other.docker(&["pull", "-q", &theirs])?;
                sync(other.folder.path())
            })?;
            processors.1.push(processor_seconds_in(&namespace)? - before);
            other.docker(&["rmi", &theirs])?;
            Ok(took)
        },
    )?;
    let what = format!("cold pull of {LAYERS} layers, {megabytes} MB : dockerd 28");
    let (mine, docker) = (median(&processors.0), median(&processors.1));
    Ok(vec![
        Finding::of_times(&what, &times, &others, Some(0.5)),
        Finding {
            what: "processor time of that pull, gateway and all : dockerd 28".to_owned(),
            values: format!("{mine:.2} / {docker:.2} s"),
            ratio: mine / docker,
            limit: Some(Limit::AtMost(2.0 / 3.0)),
        },
    ])
}

fn archives(home: &Home, registry: &Registry, other: &Other, megabytes: usize) -> Result<Vec<Finding>> {
    let ours = format!("{}/large", registry.host());
    let theirs = format!("{}/large", other.registry.host());
    home.holm(&["pull", "-q", &ours]).ok();
    other.docker(&["pull", "-q", &theirs])?;
    let file = |folder: &Path| folder.join("large.tar");
    let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("a path that is no text");
    let (our_file, their_file) = (text(&file(home.path()))?, text(&file(other.folder.path()))?);
    let (saved, others_saved) = in_turn(
        TIMES,
        || {
            time(|| {
                home.holm(&["save", "-o", &our_file, &ours]).ok();
                sync(home.path())
            })
        },
        || {
            time(|| {
                other.docker(&["save", "-o", &their_file, &theirs])?;
                sync(other.folder.path())
            })
        },
    )?;
    home.holm(&["rmi", &ours]).ok();
    other.docker(&["rmi", &theirs])?;
    // One archive for both, as docker writes it: its layers are not compressed.
    let (loaded, others_loaded) = in_turn(
        TIMES,
        || {
            let took = time(|| {
                home.holm(&["load", "-i", &their_file]).ok();
                sync(home.path())
            })?;
            home.holm(&["rmi", &theirs]).ok();
            Ok(took)
        },
        || {
            let took = time(|| {
                other.docker(&["load", "-i", &their_file])?;
                sync(other.folder.path())
            })?;
            other.docker(&["rmi", &theirs])?;
            Ok(took)
        },
    )?;
    let what = |verb: &str| format!("{verb} of that image ({megabytes} MB compressed) : dockerd 28");
    Ok(vec![
        Finding::of_times(&what("save"), &saved, &others_saved, Some(2.0 / 3.0)),
        Finding::of_times(&what("load"), &loaded, &others_loaded, Some(1.0 / 3.0)),
    ])
}

/// What the engine holds at most while it pulls, over what it holds when idle.
fn held(home: &Home, registry: &Registry) -> Result<Finding> {
    registry.push("long", "latest", &samples::large(LONG_LAYERS, LONG_LAYER_BYTES)?)?;
    let engine = home.engine()?.as_raw_nonzero().get();
    let idle = memory::resident(engine)?;
    let pulled = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = idle;
            while !pulled.load(Ordering::Relaxed) {
                most = most.max(memory::resident(engine)?);
                std::thread::sleep(SAMPLE);
            }
            Ok::<_, anyhow::Error>(most)
        });
        home.holm(&["pull", "-q", &format!("{}/long", registry.host())]).ok();
        pulled.store(true, Ordering::Relaxed);
        watching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let what = format!(
        "engine in a pull of {LONG_LAYERS} gzip layers of {} MB (of 500 scaled down), over idle",
        LONG_LAYER_BYTES / 1_000_000
    );
    Ok(memory::against(&what, most - idle, PULL_MEMORY))
}

impl Other {
    fn docker(&self, arguments: &[&str]) -> Result<()> {
        let host = format!("unix://{}", self.dockerd.socket().display());
        let output = Command::new("docker").args(arguments).env("DOCKER_HOST", host).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {}: {complaint}", arguments.join(" "));
        Ok(())
    }
}

fn sync(folder: &Path) -> Result<()> {
    ensure!(Command::new("sync").arg("-f").arg(folder).status()?.success(), "sync failed");
    Ok(())
}

/// Of the machine and of the host's daemon, through which its connections go.
fn our_processor_seconds(home: &Home) -> Result<f64> {
    let init = home.process("machine_pid")?.as_raw_nonzero();
    let machine = processor_seconds_in(&fs::read_link(format!("/proc/{init}/ns/pid"))?)?;
    Ok(machine + processor_seconds(home.process("daemon_pid")?.as_raw_nonzero().get())?)
}

/// Of all processes in a pid namespace.
fn processor_seconds_in(namespace: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look at it.
        if fs::read_link(format!("/proc/{process}/ns/pid")).is_ok_and(|of| of == namespace) {
            sum += processor_seconds(process).unwrap_or(0.0);
        }
    }
    Ok(sum)
}

/// Of all its threads, and of its children that ended: dockerd unpacks in processes of their own.
fn processor_seconds(process: i32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before may have spaces; user and system time are the 14th to the 17th field.
    let (_, fields) = text.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(4).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
}
