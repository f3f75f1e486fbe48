//! What is done to folders, and how long it takes. Containers do it by this very program: `holm-bench --in-container
//! WORK FOLDER` answers with microseconds.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::measure::time;

/// The word that makes this program the one in a container.
pub(crate) const IN_CONTAINER: &str = "--in-container";
/// Folders and files in each of them: 50,000.
const TREE: (usize, usize) = (1000, 50);
const SMALL_FILES: usize = 20_000;
const BULK: usize = 1 << 30;
const BLOCK: usize = 1 << 20;

/// One of the things that are measured.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    /// `git status` of the repository `tree`.
    Status,
    /// Many short files in the folder `new`, which is gone afterwards.
    SmallFiles,
    /// A gigabyte into the file `bulk`.
    Write,
    /// The same gigabyte.
    Read,
}

impl Work {
    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Status => "status",
            Work::SmallFiles => "small-files",
            Work::Write => "write",
            Work::Read => "read",
        }
    }

    fn of_name(name: &str) -> Option<Work> {
        [Work::Status, Work::SmallFiles, Work::Write, Work::Read].into_iter().find(|work| work.name() == name)
    }

    /// Does it, in a folder where [`repository`] was.
    pub(crate) fn run(self, folder: &Path) -> Result<Duration> {
        match self {
            Work::Status => git_status(&folder.join("tree")),
            Work::SmallFiles => small_files(&folder.join("new")),
            Work::Write => write(&folder.join("bulk")),
            Work::Read => read(&folder.join("bulk")),
        }
    }
}

/// The other side of `--in-container`. Without work it stays until it is killed, as a container to do work in.
pub(crate) fn in_container(arguments: &[String]) -> Result<()> {
    let [work, folder] = arguments else {
        loop {
            std::thread::park();
        }
    };
    let work = Work::of_name(work).with_context(|| format!("no such work: {work}"))?;
    println!("{}", work.run(Path::new(folder))?.as_micros());
    Ok(())
}

/// A repository `tree` of many short files, all committed.
pub(crate) fn repository(folder: &Path) -> Result<()> {
    let at = &folder.join("tree");
    // git reads a file again that is as young as its index.
    let before = SystemTime::now() - Duration::from_secs(3600);
    for folder in 0..TREE.0 {
        let folder = at.join(format!("at{}", folder / 30)).join(format!("{folder}"));
        fs::create_dir_all(&folder)?;
        for file in 0..TREE.1 {
            let mut at = File::create(folder.join(format!("file{file}.txt")))?;
            writeln!(at, "{file}")?;
            at.set_modified(before)?;
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
