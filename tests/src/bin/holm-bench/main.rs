//! `make bench`: how fast Holm is, as ratios to something everybody knows, measured in the same run on the same
//! computer. Times alone would say more about the computer. Ends with 1 where a ratio is over its limit.

mod boot;
mod containers;
mod dockerd;
mod folders;
mod gvproxy;
mod images;
mod iperf;
mod many;
mod measure;
mod memory;
mod netns;
mod network;
mod pull;
mod qemu;
mod run;
mod work;

use std::process::ExitCode;

use anyhow::Result;

use crate::measure::Finding;

/// Its name on the command line, and what it measures.
type Benchmark = (&'static str, fn() -> Result<Vec<Finding>>);

const ALL: [Benchmark; 11] = [
    ("boot", boot::measure),
    ("run", run::measure),
    ("pull", pull::measure),
    ("images", images::measure),
    ("memory", memory::measure),
    ("containers", containers::measure),
    ("many", many::measure),
    ("network", network::measure),
    ("gvproxy", gvproxy::measure),
    ("qemu", qemu::measure),
    ("folders", folders::measure),
];

fn main() -> Result<ExitCode> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some((work::IN_CONTAINER, arguments)) =
        wanted.split_first().map(|(first, rest)| (first.as_str(), rest))
    {
        work::in_container(arguments)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(unknown) = wanted.iter().find(|name| !ALL.iter().any(|(known, _)| known == name)) {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        anyhow::bail!("no benchmark `{unknown}`; there are {}", names.join(", "));
    }
    let mut code = ExitCode::SUCCESS;
    for (name, measure) in ALL {
        if !wanted.is_empty() && !wanted.iter().any(|wish| wish == name) {
            continue;
        }
        match measure() {
            Ok(findings) => {
                for finding in findings {
                    println!("{finding}");
                    if finding.is_over() {
                        code = ExitCode::FAILURE;
                    }
                }
            }
            // What one lacks is no reason to know nothing of the others.
            Err(error) => {
                eprintln!("{name} is not measured: {error:#}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
