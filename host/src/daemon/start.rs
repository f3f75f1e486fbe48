//! Starts the daemon for the first command that needs it, and the machine with it.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::control::{self, ControlError, Reply, Request};
use super::lock::Lock;
use crate::home::Home;
use crate::os;

/// A new daemon listens before it boots anything, so this is generous.
const LISTEN_DEADLINE: Duration = Duration::from_secs(15);
/// Between two looks at a daemon that starts.
const LOOK: Duration = Duration::from_millis(5);
/// Lines of the daemon's log that an error shows.
const LOG_LINES: usize = 10;

/// Why there is no machine to send a command to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Holm's folder cannot be made.
    #[error("cannot use {0}")]
    Home(String, #[source] io::Error),
    /// The program itself does not start.
    #[error("cannot start the Holm daemon")]
    Spawn(#[source] io::Error),
    /// It started and ended again, or never listened: its last words.
    #[error("the Holm daemon did not start{}", indented(.last_words))]
    Daemon { last_words: Vec<String> },
    /// The daemon is well and its machine is not.
    #[error("{message}{}", indented(.console))]
    Machine { message: String, hint: Option<String>, console: Vec<String> },
    /// The daemon cannot be understood.
    #[error(transparent)]
    Control(ControlError),
}

impl StartError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Machine { hint, .. } => hint.clone(),
            Self::Control(_) => Some("end the process `holm daemon` and try again".into()),
            _ => None,
        }
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

/// Returns once the engine of `home` answers: starts what is not running.
pub(crate) async fn ensure_running(home: &Home) -> Result<(), StartError> {
    match request(home, Request::Start).await? {
        Reply::Status(_) | Reply::Surroundings(_) | Reply::Shares(_) => Ok(()),
        Reply::Failed { message, hint, console } => Err(StartError::Machine { message, hint, console }),
    }
}

/// Asks the daemon of `home`, and starts it first where it does not run.
pub(crate) async fn request(home: &Home, request: Request) -> Result<Reply, StartError> {
    match control::ask(home, request).await {
        Err(ControlError::NotRunning) => {}
        other => return other.map_err(StartError::Control),
    }
    home.create().map_err(|e| StartError::Home(home.root().display().to_string(), e))?;
    let mut daemon = spawn(home).map_err(StartError::Spawn)?;
    let deadline = Instant::now() + LISTEN_DEADLINE;
    loop {
        match control::ask(home, request).await {
            Err(ControlError::NotRunning) => {}
            other => return other.map_err(StartError::Control),
        }
        let ended = daemon.try_wait().map_err(StartError::Spawn)?.is_some();
        // Another command may have started one at the same moment: then ours ends, and theirs answers.
        if Instant::now() >= deadline || (ended && !Lock::is_held(&home.lock())) {
            return Err(StartError::Daemon { last_words: last_lines(home) });
        }
        sleep(LOOK).await;
    }
}

/// The same program as this one, with nothing of this terminal.
fn spawn(home: &Home) -> io::Result<Child> {
    let log = os::create_private_file(&home.log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("daemon").env("HOLM_HOME", home.root());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A folder that the user wants to unmount or delete later should not be held by us.
    command.current_dir(home.root());
    os::spawn_detached(&mut command)
}

fn last_lines(home: &Home) -> Vec<String> {
    super::console::last_lines(&home.log(), LOG_LINES)
}
