//! From the start of the machine to the first `/_ping` answered on the host's socket, against the time in which
//! the same QEMU and kernel reach a static `/init` that does nothing but speak.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use holm_tests::home::{Home, Machine, programs};
use holm_tests::http::{Request, exchange};

use crate::measure::{Finding, in_turn, time};

const TIMES: usize = 5;
/// Of the first line that the bare init prints.
const SPOKEN: &str = "Hello from Docker!";
const SETTINGS: &str = "machine = \"qemu\"\ncpus = 2\nmemory = \"1GiB\"\ndisk-size = \"20GiB\"\n";

pub(crate) fn measure() -> Result<Vec<Finding>> {
    let home = Home::new(Machine::Qemu, &[])?;
    home.set(SETTINGS)?;
    let first = boot(&home)?;
    let folder = tempfile::tempdir()?;
    let initramfs = bare_initramfs(folder.path())?;
    let (ours, bare) = in_turn(TIMES, || boot(&home), || boot_bare(&initramfs))?;
    Ok(vec![
        Finding::of_times("first boot, which grows the disk, to /_ping : bare init", &[first], &bare, None),
        Finding::of_times("later boots to /_ping : bare init", &ours, &bare, Some(1.5)),
    ])
}

/// Starts the machine of a daemon that already runs, and stops it again.
fn boot(home: &Home) -> Result<Duration> {
    // The daemon stays; only the machine ends.
    home.holm(&["machine", "start"]).ok();
    home.holm(&["machine", "stop"]).ok();
    let took = time(|| {
        home.holm(&["machine", "start"]).ok();
        ping(&home.socket())
    })?;
    home.holm(&["machine", "stop"]).ok();
    Ok(took)
}

fn ping(socket: &Path) -> Result<()> {
    let request = Request { method: "GET", host: "holm", path: "/_ping", content_type: None, body: b"" };
    let response = exchange(UnixStream::connect(socket)?, &request)?;
    ensure!(response.text() == "OK", "/_ping: {} {}", response.status, response.text());
    Ok(())
}

/// An archive with the program `hello` as `/init`; the kernel brings `/dev/console` itself.
fn bare_initramfs(folder: &Path) -> Result<std::path::PathBuf> {
    fs::copy(programs().join("hello"), folder.join("init"))?;
    let archive = folder.join("bare.cpio");
    let mut cpio = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&archive)?)
        .spawn()
        .context("cpio is not installed: type `.ci/deps test`")?;
    cpio.stdin.take().context("asked for above")?.write_all(b"init\n")?;
    ensure!(cpio.wait()?.success(), "cpio failed");
    Ok(archive)
}

fn boot_bare(initramfs: &Path) -> Result<Duration> {
    let start = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-M",
            "microvm,acpi=off",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,-erms,-fsrm",
            "-smp",
            "2",
            "-m",
            "1G",
        ])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-append", "console=ttyS0 quiet reboot=t"])
        .arg("-kernel")
        .arg(programs().join("../vm-image/vmlinux"))
        .arg("-initrd")
        .arg(initramfs)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("qemu-system-x86_64 is not installed: type `make deps`")?;
    let console = BufReader::new(qemu.stdout.take().context("asked for above")?);
    let spoken = console.lines().any(|line| line.is_ok_and(|line| line.contains(SPOKEN)));
    let took = start.elapsed();
    qemu.kill()?;
    qemu.wait()?;
    ensure!(spoken, "the bare init never spoke");
    Ok(took)
}
