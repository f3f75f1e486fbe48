//! A folder of the computer on a direct mount of our file server, against the folder itself: what the server and the
//! ABI cost, without a guest or a transport.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holm_files::Options;
use holm_tests::mounted::{Mounted, privately};

use crate::measure::{Finding, in_turn, time};

const TIMES: usize = 3;
/// Folders and files in each of them: 50,000.
const TREE: (usize, usize) = (1000, 50);
const SMALL_FILES: usize = 20_000;
const BULK: usize = 1 << 30;
const BLOCK: usize = 1 << 20;

pub(crate) fn measure() -> Result<Vec<Finding>> {
    privately(|| {
        let source = tempfile::tempdir()?;
        let plain = source.path();
        let mut findings = Vec::new();
        repository(&plain.join("tree"))?;

        let (ours, other) = in_turn(
            TIMES,
            || Mounted::new(plain, Options::new()).and_then(|fresh| git_status(&fresh.path("tree"))),
            || git_status(&plain.join("tree")),
        )?;
        findings.push(Finding::of_times(
            "git status of 50,000 files, fresh mount : plain",
            &ours,
            &other,
            None,
        ));
        let mounted = Mounted::new(plain, Options::new())?;
        git_status(&mounted.path("tree"))?;
        let warm = || git_status(&mounted.path("tree"));
        let (ours, other) = in_turn(TIMES, warm, || git_status(&plain.join("tree")))?;
        findings.push(Finding::of_times(
            "git status of 50,000 files, warm : plain",
            &ours,
            &other,
            Some(1.3),
        ));

        let (ours, other) =
            in_turn(TIMES, || small_files(&mounted.path("new")), || small_files(&plain.join("other")))?;
        findings.push(Finding::of_times("20,000 small files made : plain", &ours, &other, Some(5.0)));

        let (ours, other) = in_turn(TIMES, || write(&mounted.path("bulk")), || write(&plain.join("bulk")))?;
        findings.push(Finding::of_times("1 GB written in order : plain", &ours, &other, Some(3.0)));
        let (ours, other) = in_turn(
            TIMES,
            // Another mount, as this one has what was written.
            || Mounted::new(plain, Options::new()).and_then(|fresh| read(&fresh.path("bulk"))),
            || read(&plain.join("bulk")),
        )?;
        findings.push(Finding::of_times(
            "1 GB read in order : plain, from its cache",
            &ours,
            &other,
            Some(3.0),
        ));
        Ok(findings)
    })
}

fn repository(at: &Path) -> Result<()> {
    for folder in 0..TREE.0 {
        let folder = at.join(format!("at{}", folder / 30)).join(format!("{folder}"));
        fs::create_dir_all(&folder)?;
        for file in 0..TREE.1 {
            fs::write(folder.join(format!("file{file}.txt")), format!("{file}\n"))?;
        }
    }
    git(at, &["init", "-q"])?;
    git(at, &["add", "."])?;
    git(at, &["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "all"])
}

fn git(at: &Path, arguments: &[&str]) -> Result<()> {
    let quiet = ["-c", "safe.directory=*", "-c", "gc.auto=0"];
    let status = Command::new("git").arg("-C").arg(at).args(quiet).args(arguments).status();
    ensure!(status.context("git does not run")?.success(), "git {arguments:?} failed");
    Ok(())
}

fn git_status(at: &Path) -> Result<Duration> {
    // The index stays as it is: where inodes have other numbers, it would be written anew each time.
    time(|| git(at, &["-c", "core.checkStat=minimal", "--no-optional-locks", "status", "--porcelain"]))
}

/// As a package manager unpacks: many folders, short files, each written at once.
fn small_files(at: &Path) -> Result<Duration> {
    let took = time(|| {
        for folder in 0..SMALL_FILES / 20 {
            let folder = at.join(folder.to_string());
            fs::create_dir_all(&folder)?;
            for file in 0..20 {
                fs::write(folder.join(format!("{file}.js")), [b'x'; 700])?;
            }
        }
        Ok(())
    })?;
    fs::remove_dir_all(at)?;
    Ok(took)
}

fn write(at: &Path) -> Result<Duration> {
    let block = vec![b'x'; BLOCK];
    // The file is there already, so that neither pays for taking away what was.
    time(|| {
        let mut file = File::options().create(true).truncate(true).write(true).open(at)?;
        for _ in 0..BULK / BLOCK {
            file.write_all(&block)?;
        }
        Ok(())
    })
}

fn read(at: &Path) -> Result<Duration> {
    let mut block = vec![0; BLOCK];
    time(|| {
        let mut file = File::open(at)?;
        let mut total = 0;
        loop {
            match file.read(&mut block)? {
                0 => break,
                count => total += count,
            }
        }
        ensure!(total == BULK, "{total} bytes were read");
        Ok(())
    })
}
