//! What crosses the gateway of a QEMU machine, against the machine's own vsock: the same kernel with a guest of a few
//! lines (host/vmm/examples/vsock) in `holmd`'s place, which does nothing but read or write.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use holm_tests::home::Machine;

use crate::iperf;
use crate::measure::{Finding, median};
use crate::network::{Outward, inward, prepared, serve};

const TIMES: usize = 3;
/// Of the raw stream.
const LEAST: f64 = 0.7;
const PORT: &str = "5201";

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let before = Raw::measure()?;
    let (_registry, home) = prepared(Machine::Qemu)?;
    serve(&home, "speed", &["-p", "127.0.0.1::5201", "iperf3"], &iperf::server(PORT), iperf::LISTENS)?;
    let computer = Outward::new()?;
    let mut speeds = [const { Vec::new() }; 2];
    for _ in 0..TIMES {
        speeds[0].push(inward(&home, "speed")?);
        speeds[1].push(computer.send(&home, &[])?);
    }
    drop(home);
    let after = Raw::measure()?;
    let [inward, outward] = speeds.map(|speeds| median(&speeds));
    let (to_guest, from_guest) =
        ((before.to_guest + after.to_guest) / 2.0, (before.from_guest + after.from_guest) / 2.0);
    Ok(vec![
        Finding::of_speeds(
            "qemu: one stream, computer to published port : vsock",
            inward,
            to_guest,
            Some(LEAST),
        ),
        Finding::of_speeds(
            "qemu: one stream, container to computer : vsock",
            outward,
            from_guest,
            Some(LEAST),
        ),
    ])
}

/// Bits a second through a stream of vsock.
struct Raw {
    to_guest: f64,
    from_guest: f64,
}

impl Raw {
    fn measure() -> Result<Raw> {
        let workspace =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a workspace has the tests")?;
        let output = Command::new(env!("CARGO"))
            .args(["run", "--locked", "--release", "--quiet", "-p", "holm-vmm", "--example", "vsock", "--"])
            .args(["--kernel", "target/vm-image/vmlinux"])
            .current_dir(workspace)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        Ok(Raw { to_guest: rate(&said, "to guest")?, from_guest: rate(&said, "from guest")? })
    }
}

/// The number in `…, to guest 132 MiB/s, …`.
fn rate(said: &str, which: &str) -> Result<f64> {
    let number = said
        .split(", ")
        .find_map(|part| part.trim().strip_prefix(which)?.trim().strip_suffix(" MiB/s")?.parse::<f64>().ok());
    Ok(number.with_context(|| format!("no rate {which} in: {said}"))? * 8.0 * f64::from(1 << 20))
}
