//! What idle programs hold: proportional set sizes, against what they may.

use std::fs;

use anyhow::{Context, Result};
use holm_tests::home::{Home, Machine};

use crate::measure::Finding;

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

fn against(what: &str, bytes: f64, limit: f64) -> Finding {
    let mebibytes = bytes / MEBIBYTE;
    Finding {
        what: what.to_owned(),
        values: format!("{mebibytes:.1} / {limit:.0} MiB"),
        ratio: mebibytes / limit,
        limit: Some(1.0),
    }
}

fn children(process: i32) -> Result<Vec<i32>> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// The process's proportional set size in bytes.
fn resident(process: i32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).context("no Pss in smaps_rollup")?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024.0)
}
