//! `holm-pjdfstest PROGRAM`: runs pjdfstest, the POSIX file system test suite, on a mount of our file server, and
//! prints what share of it passes. Ends with 1 where something fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use holm_files::Options;
use holm_tests::mounted::{Mounted, privately};

/// Users that every Debian has; remounting is not ours to try.
const CONFIGURATION: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.02
allow_remount = false
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

fn main() -> Result<ExitCode> {
    let program = std::env::args_os().nth(1).context("which program? target/tools/bin/pjdfstest")?;
    let output = privately(move || {
        let folder = tempfile::tempdir()?;
        // The users of the suite must reach what is in it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777))?;
        let settings = tempfile::NamedTempFile::new()?;
        fs::write(settings.path(), CONFIGURATION)?;
        let mounted = Mounted::new(folder.path(), Options::new())?;
        let mut suite = Command::new(&program);
        suite.arg("-c").arg(settings.path()).arg("-p").arg(mounted.path(""));
        suite.output().with_context(|| format!("{} does not run", program.display()))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    for failed in text.lines().filter(|line| line.trim_end().ends_with("FAILED")) {
        println!("{failed}");
    }
    let Some(summary) = text.lines().find_map(|line| line.strip_prefix("Summary: ")) else {
        bail!("pjdfstest ended without a summary:\n{text}{}", String::from_utf8_lossy(&output.stderr));
    };
    let count = |word: &str| -> Result<u32> {
        let part =
            summary.split(", ").find(|part| part.ends_with(word)).context("another kind of summary")?;
        Ok(part.split(' ').next().unwrap_or_default().parse()?)
    };
    let (passed, failed) = (count(" passed")?, count(" failed")?);
    println!("pjdfstest: {passed} of {} pass ({summary})", passed + failed);
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
