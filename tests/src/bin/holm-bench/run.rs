//! A warm `holm run --rm hello-world` on `process`, command line included, against `crun run` of the same root
//! file system.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Machine, programs};
use holm_tests::samples::ready;

use crate::measure::{Finding, in_turn, time};

const TIMES: usize = 30;
/// crun refuses to run beside a mount of cgroup v2 among those of v1. Its own time is taken inside, so that
/// making the namespace does not count.
const ONE_RUN: &str = "mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified
    start=$EPOCHREALTIME; crun run --bundle \"$1\" holm-bench-$$ >&2; end=$EPOCHREALTIME
    echo $(( ${end/./} - ${start/./} ))";

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let (_registry, home) = ready(Machine::Process)?;
    home.holm(&["run", "--rm", "hello-world"]).ok();
    let bundle = tempfile::tempdir()?;
    make_bundle(bundle.path())?;
    let run = || {
        time(|| {
            home.holm(&["run", "--rm", "hello-world"]).ok();
            Ok(())
        })
    };
    let (ours, crun) = in_turn(TIMES, run, || run_crun(bundle.path()))?;
    Ok(vec![Finding::of_times("holm run --rm hello-world : crun run", &ours, &crun, Some(6.0))])
}

fn make_bundle(folder: &Path) -> Result<()> {
    fs::create_dir(folder.join("rootfs"))?;
    fs::copy(programs().join("hello"), folder.join("rootfs/hello"))?;
    let made = Command::new("crun").arg("spec").current_dir(folder).status();
    ensure!(made.context("crun is not installed: type `.ci/deps bench`")?.success(), "crun spec failed");
    let path = folder.join("config.json");
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&path)?)?;
    spec["process"]["args"] = serde_json::json!(["/hello"]);
    spec["process"]["terminal"] = serde_json::json!(false);
    Ok(fs::write(&path, serde_json::to_vec(&spec)?)?)
}

fn run_crun(bundle: &Path) -> Result<Duration> {
    let output =
        Command::new("unshare").args(["--mount", "bash", "-c", ONE_RUN, "bash"]).arg(bundle).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.contains("Hello from Docker!"), "crun run: {said}");
    Ok(Duration::from_micros(String::from_utf8_lossy(&output.stdout).trim().parse()?))
}
