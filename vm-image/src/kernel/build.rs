//! Unpacks, configures, compiles and strips. Who built it, where and when is fixed, so that the same inputs give
//! the same bytes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};

use super::config::Fragment;
use super::source::Source;
use crate::command::{command, run};

const BUILD_USER: &str = "holm";
const BUILD_HOST: &str = "holm";
const BUILD_TIME: &str = "Thu Jan  1 00:00:00 UTC 2026";

/// What a build leaves.
pub(crate) struct Built {
    /// The stripped ELF file.
    pub(crate) vmlinux: Vec<u8>,
    /// As `uname -r` prints it.
    pub(crate) release: String,
}

/// Works in the folder `work`, which the caller removes.
pub(crate) fn build(source: &Source, fragment: &Fragment, work: &Path) -> Result<Built> {
    run(command("tar").args(["--strip-components=1", "-xf"]).arg(&source.archive).arg("-C").arg(work))?;

    let asked = work.join("holm.fragment");
    fs::write(&asked, fragment.text())?;
    run(make(work).arg("allnoconfig").env("KCONFIG_ALLCONFIG", &asked).stdout(Stdio::null()))?;
    fragment.check(&fs::read_to_string(work.join(".config"))?)?;

    let jobs = thread::available_parallelism().map_or(1, |processors| processors.get());
    run(make(work).arg(format!("-j{jobs}")).arg("vmlinux").stdout(Stdio::null()))?;
    run(command("strip").args(["-o", "vmlinux.stripped", "vmlinux"]).current_dir(work))?;
    Ok(Built {
        vmlinux: fs::read(work.join("vmlinux.stripped"))?,
        release: fs::read_to_string(work.join("include/config/kernel.release"))
            .context("the kernel's build left no release")?
            .trim()
            .to_owned(),
    })
}

fn make(work: &Path) -> Command {
    let mut make = command("make");
    make.current_dir(work)
        .env("KBUILD_BUILD_USER", BUILD_USER)
        .env("KBUILD_BUILD_HOST", BUILD_HOST)
        .env("KBUILD_BUILD_TIMESTAMP", BUILD_TIME)
        .env("KBUILD_BUILD_VERSION", "1")
        .arg("--silent");
    make
}
