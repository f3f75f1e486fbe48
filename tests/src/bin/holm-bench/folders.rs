//! A folder of the computer, as a direct mount of our file server has it and as a container has it, against the folder
//! itself: what the server and the ABI cost without a guest or a transport, and what those add.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use holm_files::Options;
use holm_tests::home::{Home, Machine};
use holm_tests::mounted::{Mounted, privately};
use holm_tests::registry::Registry;
use holm_tests::samples::{self, for_two_platforms};

use crate::measure::{Finding, in_turn};
use crate::work::{IN_CONTAINER, Work, repository};

const TIMES: usize = 3;
/// Where containers have the folder.
const SEEN: &str = "/src";

pub(crate) fn measure() -> Result<Vec<Finding>> {
    // Apart, as what is done to the plain one would have to be announced to who looks at the shared one.
    let (shared, plain) = (tempfile::tempdir()?, tempfile::tempdir()?);
    repository(shared.path())?;
    repository(plain.path())?;
    let mut findings = direct(shared.path(), plain.path())?;
    findings.extend(through_a_container(shared.path(), plain.path())?);
    Ok(findings)
}

/// On a mount that only this program sees.
fn direct(shared: &Path, plain: &Path) -> Result<Vec<Finding>> {
    privately(|| {
        let fresh = |work: Work| fresh_mount(shared, work);
        let mounted = Mounted::new(shared, Options::new())?;
        let warm = |work: Work| work.run(&mounted.path(""));
        Work::Status.run(&mounted.path(""))?;
        Ok(vec![
            against_plain("git status of 50,000 files, fresh mount", Work::Status, None, plain, fresh)?,
            against_plain("git status of 50,000 files, warm", Work::Status, Some(1.3), plain, warm)?,
            against_plain("20,000 small files made", Work::SmallFiles, Some(5.0), plain, warm)?,
            against_plain("1 GB written in order", Work::Write, Some(3.0), plain, warm)?,
            // Another mount, as this one has what was written.
            against_plain("1 GB read in order, plain from its cache", Work::Read, Some(3.0), plain, fresh)?,
        ])
    })
}

fn fresh_mount(shared: &Path, work: Work) -> Result<Duration> {
    Mounted::new(shared, Options::new()).and_then(|mounted| work.run(&mounted.path("")))
}

/// As `docker run -v` has it, on `process`.
fn through_a_container(shared: &Path, plain: &Path) -> Result<Vec<Finding>> {
    let (_registry, home) = prepared()?;
    let bind = format!("{}:{SEEN}", shared.display());
    // Nobody else has the folder then, so this mount is as new as its container.
    let fresh = |work: Work| worked(&home, &["run", "--rm", "-v", &bind, "bench"], work);
    let mut findings = privately(|| {
        let (ours, direct) = in_turn(TIMES, || fresh(Work::Status), || fresh_mount(shared, Work::Status))?;
        let what = "container: git status of 50,000 files, fresh mount : direct";
        Ok(vec![Finding::of_times(what, &ours, &direct, Some(1.3))])
    })?;
    let read = "container: 1 GB read in order, plain from its cache";
    findings.push(against_plain(read, Work::Read, Some(3.0), plain, fresh)?);

    home.holm(&["run", "-d", "--name", "stays", "-v", &bind, "bench"]).ok();
    let warm = |work: Work| worked(&home, &["exec", "stays", "/holm-bench", IN_CONTAINER], work);
    warm(Work::Status)?;
    for (what, work, limit) in [
        ("container: git status of 50,000 files, warm", Work::Status, 1.3),
        ("container: 20,000 small files made", Work::SmallFiles, 5.0),
        ("container: 1 GB written in order", Work::Write, 3.0),
    ] {
        findings.push(against_plain(what, work, Some(limit), plain, warm)?);
    }
    home.holm(&["rm", "-f", "stays"]).ok();
    Ok(findings)
}

/// A home with an image of this program and git.
fn prepared() -> Result<(Registry, Home)> {
    let own = std::env::current_exe()?;
    let own = own.to_str().context("this program lies where no text can tell")?;
    let programs = [(own, "/holm-bench"), ("/usr/bin/git", "/usr/bin/git")];
    let image = samples::of_programs(&programs, &["/holm-bench", IN_CONTAINER])?;
    let registry = Registry::start()?;
    registry.push_index("library/bench", "latest", &for_two_platforms(image)?)?;
    let home = Home::new(Machine::Process, &[registry.url()])?;
    home.holm(&["pull", "-q", "bench"]).ok();
    Ok((registry, home))
}

/// What a container says that its work took.
fn worked(home: &Home, command: &[&str], work: Work) -> Result<Duration> {
    let ran = home.holm(&[command, &[work.name(), SEEN]].concat());
    let micros = ran.stdout.trim().parse().with_context(|| ran.to_string())?;
    Ok(Duration::from_micros(micros))
}

fn against_plain(
    what: &str,
    work: Work,
    limit: Option<f64>,
    plain: &Path,
    ours: impl Fn(Work) -> Result<Duration>,
) -> Result<Finding> {
    let (ours, other) = in_turn(TIMES, || ours(work), || work.run(plain))?;
    Ok(Finding::of_times(&format!("{what} : plain"), &ours, &other, limit))
}
