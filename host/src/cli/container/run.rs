//! `run`: creates a container, attaches to it, starts it, and ends as it ends.
//!
//! ```text
//!   create (pull) ─► attach ─► wait for its end ─► start ─► copy streams ─► its status is ours
//!                    before the start, so that neither output nor end is missed
//! ```

use std::future::Future;

use super::create::{create, launch_error};
use super::flags::{ContainerFlags, PullPolicy};
use super::wait::{Condition, Ending};
use crate::cli::attach::{self, Attached, Attachment, DetachKeys, End, Proxy, check_terminal, follow_size};
use crate::cli::client::Call;
use crate::cli::error::{CliError, DAEMON_FAILED};
use crate::cli::session::{self, Session};
use crate::os::terminal;

/// `holm run`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "")]
    detach_keys: DetachKeys,
    /// Pull image before running ("always", "missing", "never")
    #[arg(long, value_name = "string", default_value = "missing")]
    pull: String,
    /// Proxy received signals to the process
    #[arg(long, default_value = "true", action = clap::ArgAction::SetTrue)]
    sig_proxy: bool,
}

/// Exit statuses of `run` itself, beside the container's own.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Runs a container. Its status is the error, if it is not 0.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let launch = |cause: CliError| launch_error(session, "run", launch_code(&cause), cause);
    let plain = |cause| launch_error(session, "run", DAEMON_FAILED, cause);
    let policy = PullPolicy::parse(&args.pull).map_err(plain)?;
    let mut plan = args.flags.plan(&session.variables).map_err(plain)?;
    if !args.detach {
        check_terminal(plan.stdin, plan.tty)?;
    } else if plan.attaches {
        return Err(CliError::said("conflicting options: cannot specify both --attach and --detach"));
    } else {
        plan = plan.detached();
    }
    let id = create(session, &args.flags, &plan, policy).await.map_err(launch)?;
    let start = Call::post(format!("/containers/{id}/start"));
    if !(plan.stdin || plan.stdout || plan.stderr) {
        // The id first: whoever reads it may be what the start waits for.
        session::print_line(&id)?;
        return session.client.send(start).await.map(drop).map_err(launch);
    }
    let how = Attachment {
        stdin: plan.stdin,
        stdout: plan.stdout,
        stderr: plan.stderr,
        tty: plan.tty,
        keys: session.detach_keys(args.detach_keys)?,
    };
    let proxy = Proxy::start(args.sig_proxy)?;
    let attached = Attached::open(&session.client, &id, how.clone()).await?;
    let condition = if plan.removed { Condition::Removed } else { Condition::NextExit };
    let ending = Ending::watch(&session.client, &id, condition).await?;
    if let Err(error) = session.client.send(start).await {
        if plan.removed {
            // It is only gone when the engine says so; a script may use its name again at once.
            let _ = ending.status().await;
        }
        return Err(launch(error));
    }
    let path = format!("/containers/{id}");
    let companions = async {
        if how.tty && terminal::size().is_some() {
            tokio::join!(proxy.forward(&session.client, &id), follow_size(&session.client, &path));
        } else {
            proxy.forward(&session.client, &id).await;
        }
    };
    let code = beside(companions, follow(attached, ending, how.stdout || how.stderr)).await?;
    if code == 0 { Ok(()) } else { Err(CliError::Exit(code)) }
}

/// The container's status, once its output is over too; 0 where the user detached.
pub(super) async fn follow(attached: Attached, ending: Ending<'_>, prints: bool) -> Result<u8, CliError> {
    if prints {
        return match attached.stream().await? {
            End::Detached => Ok(0),
            End::Output => ending.status().await,
        };
    }
    let streaming = attached.stream();
    let status = ending.status();
    tokio::pin!(streaming, status);
    tokio::select! {
        status = &mut status => status,
        end = streaming => match end? {
            End::Detached => Ok(0),
            End::Output => status.await,
        },
    }
}

/// As [`follow`], where detaching is told as an error: there is no status, and the container runs on.
pub(super) async fn follow_or_detach(attached: Attached, ending: Ending<'_>) -> Result<u8, CliError> {
    match attached.stream().await? {
        End::Detached => Err(attach::detached()),
        End::Output => ending.status().await,
    }
}

/// What `main` gives; `companions` run as long as it does.
pub(super) async fn beside<T>(companions: impl Future<Output = ()>, main: impl Future<Output = T>) -> T {
    tokio::pin!(companions, main);
    tokio::select! {
        result = &mut main => result,
        () = companions => main.await,
    }
}

/// The status for a failure that comes from what was to be run, told from the engine's words as Docker does.
fn launch_code(cause: &CliError) -> u8 {
    let text = cause.to_string();
    let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
    if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        NOT_FOUND
    } else if says(&["permission denied", "is a directory"]) && !cause.is_no_connection() {
        CANNOT_RUN
    } else {
        DAEMON_FAILED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_a_missing_program_from_one_that_cannot_run() {
        let code =
            |message: &str| launch_code(&CliError::Refused { status: 400, message: message.to_owned() });
        assert_eq!(code("exec: \"nosuch\": executable file not found in $PATH: unknown"), 127);
        assert_eq!(code("exec: \"/nosuch\": stat /nosuch: no such file or directory: unknown"), 127);
        assert_eq!(code("exec: \"/tmp\": permission denied: unknown"), 126);
        assert_eq!(code("exec: \"/tmp\": is a directory: unknown"), 126);
        assert_eq!(code("Conflict. The container name \"/x\" is already in use"), 125);
    }
}
