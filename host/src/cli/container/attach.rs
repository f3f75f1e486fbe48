//! `attach`: our streams joined to those of a container that runs.

use serde_json::Value;

use super::container_path;
use super::run::{beside, follow_or_detach};
use super::wait::{Condition, Ending};
use crate::cli::attach::{Attached, Attachment, DetachKeys, Proxy, check_terminal, follow_size, redraw};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::os::terminal;

/// `holm attach`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "")]
    detach_keys: DetachKeys,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, default_value = "true", action = clap::ArgAction::SetTrue)]
    sig_proxy: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

/// Attaches until the container ends or the user detaches. The container's status is the error, if it is not 0.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let client = &session.client;
    let container = container_path(&args.container, "")?;
    let inspected = inspect_running(session, &container).await?;
    let id = inspected["Id"].as_str().unwrap_or(&args.container);
    // Watched before anything else, so that an end while we attach is not missed.
    let ending = Ending::watch(client, id, Condition::NotRunning).await?;
    let yes = |value: &Value| value.as_bool().unwrap_or(false);
    let tty = yes(&inspected["Config"]["Tty"]);
    check_terminal(!args.no_stdin, tty)?;
    let how = Attachment {
        stdin: !args.no_stdin && yes(&inspected["Config"]["OpenStdin"]),
        stdout: true,
        stderr: true,
        tty,
        keys: session.detach_keys(args.detach_keys)?,
    };
    let proxy = Proxy::start(args.sig_proxy && !tty)?;
    let attached = Attached::open(client, id, how).await?;
    // It may have ended or been paused between the two, and then nothing would ever come.
    inspect_running(session, &container).await?;
    let path = format!("/containers/{id}");
    let companions = async {
        if tty && terminal::size().is_some() {
            redraw(client, &path).await;
            follow_size(client, &path).await;
        } else {
            proxy.forward(client, id).await;
        }
    };
    match beside(companions, follow_or_detach(attached, ending)).await? {
        0 => Ok(()),
        code => Err(CliError::Exit(code)),
    }
}

async fn inspect_running(session: &Session, container: &str) -> Result<Value, CliError> {
    let call = Call::get(format!("{container}/json"));
    let inspected: Value = session.client.send(call).await?.json().await?;
    match complaint(&inspected["State"]) {
        Some(complaint) => Err(CliError::said(complaint)),
        None => Ok(inspected),
    }
}

/// Why a container in this state cannot be attached to.
fn complaint(state: &Value) -> Option<&'static str> {
    if state["Running"] != true {
        Some("You cannot attach to a stopped container, start it first")
    } else if state["Paused"] == true {
        Some("You cannot attach to a paused container, unpause it first")
    } else if state["Restarting"] == true {
        Some("You cannot attach to a restarting container, wait until it is running")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_a_container_that_runs_and_goes_on_can_be_attached_to() {
        assert_eq!(complaint(&json!({"Running": true, "Paused": false})), None);
        assert!(complaint(&json!({"Running": false})).unwrap().contains("stopped"));
        assert!(complaint(&json!({"Running": true, "Paused": true})).unwrap().contains("paused"));
        assert!(complaint(&json!({"Running": true, "Restarting": true})).unwrap().contains("restarting"));
    }
}
