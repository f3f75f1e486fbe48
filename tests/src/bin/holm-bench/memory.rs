//! What idle programs hold: proportional set sizes, against what they may.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use holm_tests::home::{Home, Machine};

use crate::measure::{Finding, Limit};

const MEBIBYTE: f64 = (1 << 20) as f64;

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let home = Home::new(Machine::Process, &[])?;
    home.holm(&["machine", "start"]).ok();
    let daemon = home.process("daemon_pid")?.as_raw_nonzero().get();
    let init = home.process("machine_pid")?.as_raw_nonzero().get();
    let guest = std::iter::once(init).chain(children(init)?).map(resident).sum::<Result<f64>>()?;
    Ok(vec![
        against("holmd init and engine, idle : what they may hold", guest, 20.0),
        against("host daemon, idle : what it may hold", resident(daemon)?, 30.0),
    ])
}

/// One amount of memory against its limit.
pub(crate) fn against(what: &str, bytes: f64, limit: f64) -> Finding {
    let mebibytes = bytes / MEBIBYTE;
    Finding {
        what: what.to_owned(),
        values: format!("{mebibytes:.1} / {limit:.0} MiB"),
        ratio: mebibytes / limit,
        limit: Some(Limit::AtMost(1.0)),
    }
}

/// Two amounts of memory.
pub(crate) fn between(what: &str, ours: f64, other: f64) -> Finding {
    Finding {
        what: what.to_owned(),
        values: format!("{:.1} / {:.1} MiB", ours / MEBIBYTE, other / MEBIBYTE),
        ratio: ours / other,
        limit: None,
    }
}

/// What all processes of a pid namespace hold; containers' own are in others.
pub(crate) fn resident_in(namespace: &Path) -> Result<f64> {
    let mut sum = 0.0;
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while we look at it.
        if fs::read_link(format!("/proc/{process}/ns/pid")).is_ok_and(|of| of == namespace) {
            sum += resident(process).unwrap_or(0.0);
        }
    }
    Ok(sum)
}

fn children(process: i32) -> Result<Vec<i32>> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The process's proportional set size in bytes.
pub(crate) fn resident(process: i32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0)
}
