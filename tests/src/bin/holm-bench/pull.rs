//! A pull of a large image on `process`, against `curl | gzip -dc | tar x` of the same layers from the same
//! registry, all at once; both end with what they wrote on the disk.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Home, Machine};
use holm_tests::image::Image;
use holm_tests::registry::Registry;
use holm_tests::samples;

use crate::measure::{Finding, in_turn, time};

const TIMES: usize = 5;
const LAYERS: u32 = 6;
/// Before compression, which halves it: 144 MB to download.
const LAYER_BYTES: usize = 48 << 20;
/// `$1` is the folder, the others are addresses of layers.
const BY_HAND: &str = "set -o pipefail; cd \"$1\"; shift; jobs=()
    for url; do mkdir $# && curl -sSfL \"$url\" | gzip -dc | tar x -C $# & jobs+=($!); shift; done
    for job in \"${jobs[@]}\"; do wait \"$job\" || exit 1; done; sync -f .";

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let registry = Registry::start()?;
    let image = samples::large(LAYERS, LAYER_BYTES)?;
    registry.push("large", "latest", &image)?;
    let home = Home::new(Machine::Process, &[])?;
    let reference = format!("{}/large", registry.host());
    // Beside the home, so that both write to the same file system.
    let folder = tempfile::tempdir_in(home.path())?;
    let (ours, by_hand) =
        in_turn(TIMES, || pull(&home, &reference), || pull_by_hand(folder.path(), &registry, &image))?;
    let megabytes: usize = image.layers.iter().map(|layer| layer.bytes.len()).sum::<usize>() / 1_000_000;
    let what = format!("pull of {LAYERS} layers, {megabytes} MB : curl | gzip -dc | tar x");
    Ok(vec![Finding::of_times(&what, &ours, &by_hand, Some(1.3))])
}

fn pull(home: &Home, reference: &str) -> Result<Duration> {
    let took = time(|| {
        home.holm(&["pull", "-q", reference]).ok();
        ensure!(Command::new("sync").arg("-f").arg(home.path()).status()?.success(), "sync failed");
        Ok(())
    })?;
    home.holm(&["rmi", reference]).ok();
    Ok(took)
}

fn pull_by_hand(folder: &Path, registry: &Registry, image: &Image) -> Result<Duration> {
    let inner = tempfile::tempdir_in(folder)?;
    let urls =
        image.layers.iter().map(|layer| format!("{}/v2/large/blobs/{}", registry.url(), layer.digest()));
    let mut command = Command::new("bash");
    command.args(["-c", BY_HAND, "bash"]).arg(inner.path()).args(urls);
    time(|| {
        let status = command.status().context("bash does not run")?;
        ensure!(status.success(), "downloading by hand failed: is curl installed? `.ci/deps bench` does it");
        Ok(())
    })
}
