//! Many containers on `process`: what those that run hold beside their own processes, what the engine does while
//! nobody asks it, and how long it takes to tell of all.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Home, Machine};
use holm_tests::http::{Request, Response, exchange};
use holm_tests::samples::ready;
use rustix::process::Pid;
use serde_json::Value;

use crate::measure::{Finding, Limit, time};
use crate::memory;

const RUNNING: usize = 200;
const LISTED: usize = 1000;
const LISTS: usize = 15;
const CLIENTS: usize = 8;
const IDLE: Duration = Duration::from_secs(30);
/// What starting left to do is done by then.
const SETTLING: Duration = Duration::from_secs(5);
/// Of one processor.
const IDLE_SHARE: f64 = 0.01;
const LIST_LIMIT: Duration = Duration::from_millis(50);
const WISH: &str = r#"{"Image": "busybox", "Cmd": ["sleep", "100000"]}"#;

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let mut findings = running()?;
    findings.push(listed()?);
    Ok(findings)
}

/// Memory and idle time of many that run.
fn running() -> Result<Vec<Finding>> {
    let (_registry, home) = ready(Machine::Process)?;
    home.holm(&["pull", "-q", "busybox"]).ok();
    let socket = home.socket();
    eprintln!("starting {RUNNING} containers");
    let ids = in_parallel(RUNNING, |_| {
        let id = create(&socket)?;
        ask(&socket, "POST", &format!("/containers/{id}/start"), "", 204)?;
        Ok(id)
    })?;
    std::thread::sleep(SETTLING);
    let init = home.process("machine_pid")?.as_raw_nonzero();
    let holds = memory::resident_in(&std::fs::read_link(format!("/proc/{init}/ns/pid"))?)?;
    let idle = idle_share(home.engine()?)?;
    // Removed here, as the home's end would stop them one grace period long.
    in_parallel(ids.len(), |number| {
        ask(&socket, "DELETE", &format!("/containers/{}?force=1", ids[number]), "", 204)
    })?;
    let each = format!("init, engine and shims, each of {RUNNING} that run : what it may hold");
    Ok(vec![
        memory::against(&each, holds / RUNNING as f64, 2.0),
        Finding {
            what: format!(
                "engine with {RUNNING} that run, {} idle seconds : what it may use",
                IDLE.as_secs()
            ),
            values: format!("{:.2} / {:.2} %", idle * 100.0, IDLE_SHARE * 100.0),
            ratio: idle / IDLE_SHARE,
            limit: Some(Limit::AtMost(1.0)),
        },
    ])
}

/// All of many that were only created, through the host's socket.
fn listed() -> Result<Finding> {
    let (_registry, home) = ready(Machine::Process)?;
    home.holm(&["pull", "-q", "busybox"]).ok();
    let socket = home.socket();
    eprintln!("creating {LISTED} containers");
    in_parallel(LISTED, |_| create(&socket))?;
    let times = (0..LISTS).map(|_| list(&home)).collect::<Result<Vec<_>>>()?;
    let what = format!("GET /containers/json?all=1 of {LISTED} : what it may take");
    Ok(Finding::of_times(&what, &times, &[LIST_LIMIT], Some(1.0)))
}

fn list(home: &Home) -> Result<Duration> {
    let mut answer = None;
    let took = time(|| {
        answer = Some(ask(&home.socket(), "GET", "/containers/json?all=1", "", 200)?);
        Ok(())
    })?;
    let all: Value = serde_json::from_slice(&answer.context("asked for above")?.body)?;
    let count = all.as_array().map_or(0, Vec::len);
    ensure!(count == LISTED, "{count} containers are listed");
    Ok(took)
}

/// The share of one processor that a process uses while nobody asks it anything.
fn idle_share(process: Pid) -> Result<f64> {
    let (before, start) = (processor_seconds(process)?, Instant::now());
    std::thread::sleep(IDLE);
    Ok((processor_seconds(process)? - before) / start.elapsed().as_secs_f64())
}

/// Of all its threads, those that ended too.
fn processor_seconds(process: Pid) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))?;
    // The name before may have spaces; `utime` and `stime` are the 14th and the 15th field.
    let (_, fields) = text.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let ticks: Vec<u64> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<u64>() as f64 / rustix::param::clock_ticks_per_second() as f64)
}

fn create(socket: &Path) -> Result<String> {
    let answer: Value = serde_json::from_slice(&ask(socket, "POST", "/containers/create", WISH, 201)?.body)?;
    Ok(answer["Id"].as_str().context("a container without an id")?.to_owned())
}

fn ask(socket: &Path, method: &str, path: &str, body: &str, status: u16) -> Result<Response> {
    let content_type = (!body.is_empty()).then_some("application/json");
    let request = Request { method, host: "holm", path, content_type, body: body.as_bytes() };
    let response = exchange(UnixStream::connect(socket)?, &request)?;
    ensure!(response.status == status, "{method} {path}: {} {}", response.status, response.text());
    Ok(response)
}

/// What `work` makes of each number, by several clients at once.
fn in_parallel<T: Send>(count: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    let client = |first| (first..count).step_by(CLIENTS).map(&work).collect::<Result<Vec<T>>>();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|first| scope.spawn(move || client(first))).collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(all)
    })
}
