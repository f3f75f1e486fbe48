//! The engine's side of a pump: starts one and learns whether it has mounted.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::timeout;

use super::{MOUNTED, Plan};

/// The host answers at once; a slow folder's first look is included.
const MOUNT_DEADLINE: Duration = Duration::from_secs(20);
/// Of the words in which it says why it did not.
const LONGEST_WORDS: u64 = 4096;

/// Returns once the share is mounted at its place; where that fails, no process is left. The pump lives on when
/// the caller ends.
pub(crate) async fn start(program: &Path, plan: &Plan) -> io::Result<()> {
    let plan = serde_json::to_vec(plan)?;
    let mut pump = Command::new(program).arg("pump").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut stdin, stdout) = (pump.stdin.take(), pump.stdout.take());
    let told = async {
        if let Some(stdin) = &mut stdin {
            stdin.write_all(&plan).await?;
        }
        drop(stdin);
        let mut words = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(LONGEST_WORDS).read_to_end(&mut words).await?;
        }
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
        // Reaped by the runtime where this engine lives to see its end.
        return Ok(());
    }
    let status = pump.wait().await?;
    let words = String::from_utf8_lossy(&words);
    Err(io::Error::other(if words.trim().is_empty() { status.to_string() } else { words.into_owned() }))
}
