//! The engine's side of a pump: starts one, learns whether it has mounted, and ends all requests when it is killed: in
//! the middle of a notification not even that ends it, and the device stays open for as long.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use super::{MOUNTED, Plan, mount};

/// The host answers at once; a slow folder's first look is included.
const MOUNT_DEADLINE: Duration = Duration::from_secs(20);
/// Of the words in which it says why it did not.
const LONGEST_WORDS: usize = 4096;

/// Returns once the share is mounted at its place; where that fails, no process is left. The pump lives on when
/// the caller ends, which nobody watches then.
pub(crate) async fn start(program: &Path, plan: &Plan) -> io::Result<()> {
    let at = plan.at.clone();
    let plan = serde_json::to_vec(plan)?;
    let mut pump = Command::new(program).arg("pump").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, mut stdout) = (pump.stdin.take(), pump.stdout.take());
    let told = async {
        if let Some(stdin) = &mut stdin {
            stdin.write_all(&plan).await?;
        }
        drop(stdin);
        let mut words = Vec::new();
        while let Some(stdout) = &mut stdout
            && words != MOUNTED
            && words.len() < LONGEST_WORDS
            && stdout.read_buf(&mut words).await? > 0
        {}
        Ok::<_, io::Error>(words)
    };
    let words = match timeout(MOUNT_DEADLINE, told).await {
        Ok(words) => words?,
        Err(_) => {
            pump.kill().await?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the computer does not answer in time"));
        }
    };
    if words == MOUNTED {
        // The process is reaped by the runtime where this engine lives to see its end.
        if let Some(stdout) = stdout {
            let number = mount::number(&at)?;
            tokio::spawn(abort_at_end(stdout, at, number));
        }
        return Ok(());
    }
    let status = pump.wait().await?;
    let words = String::from_utf8_lossy(&words);
    Err(io::Error::other(if words.trim().is_empty() { status.to_string() } else { words.into_owned() }))
}

/// Its output is closed with the first of its tables of descriptors, which only who cannot wait has.
async fn abort_at_end(mut stdout: ChildStdout, at: PathBuf, number: (u32, u32)) {
    let mut nothing = [0];
    while stdout.read(&mut nothing).await.is_ok_and(|count| count > 0) {}
    let aborted = tokio::task::spawn_blocking(move || {
        // Unless another pump has mounted the share anew.
        if mount::number(&at).is_ok_and(|now| now == number) {
            mount::abort(&at);
        }
    });
    let aborted = aborted.await;
    if let Err(error) = aborted {
        tracing::warn!("{error}");
    }
}
