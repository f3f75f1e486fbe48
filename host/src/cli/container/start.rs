//! `start`: starts containers, or starts one and attaches to it.

use serde_json::Value;

use super::container_path;
use super::run::{beside, follow};
use super::wait::{Condition, Ending};
use crate::cli::attach::{Attached, Attachment, DetachKeys, Proxy, check_terminal, follow_size};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};
use crate::os::terminal;

/// `holm start`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "")]
    detach_keys: DetachKeys,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Starts what is named.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    match args.containers.as_slice() {
        [container] if args.attach || args.interactive => attached(&args, container, session).await,
        _ if args.attach || args.interactive => {
            Err(CliError::said("you cannot start and attach multiple containers at once"))
        }
        containers => detached(containers, session).await,
    }
}

async fn detached(containers: &[String], session: &Session) -> Result<(), CliError> {
    let mut failed = Vec::new();
    for container in containers {
        let started = async { session.client.send(Call::post(container_path(container, "/start")?)).await };
        match started.await {
            Ok(_) => session::print_line(container)?,
            Err(error) => {
                error.print(&mut std::io::stderr().lock());
                failed.push(container.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(CliError::said(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn attached(args: &Args, container: &str, session: &Session) -> Result<(), CliError> {
    let client = &session.client;
    let inspected: Value = client.send(Call::get(container_path(container, "/json")?)).await?.json().await?;
    let id = inspected["Id"].as_str().unwrap_or(container);
    let yes = |value: &Value| value.as_bool().unwrap_or(false);
    let tty = yes(&inspected["Config"]["Tty"]);
    let how = Attachment {
        stdin: args.interactive && yes(&inspected["Config"]["OpenStdin"]),
        stdout: true,
        stderr: true,
        tty,
        keys: session.detach_keys(args.detach_keys.clone())?,
    };
    check_terminal(how.stdin, tty)?;
    // With a terminal, signals are keys that the container gets anyway.
    let proxy = Proxy::start(!tty)?;
    let attached = Attached::open(client, id, how).await?;
    let removed = yes(&inspected["HostConfig"]["AutoRemove"]);
    let condition = if removed { Condition::Removed } else { Condition::NextExit };
    let ending = Ending::watch(client, id, condition).await?;
    if let Err(error) = client.send(Call::post(format!("/containers/{id}/start"))).await {
        if removed {
            // It is only gone when the engine says so.
            let _ = ending.status().await;
        }
        return Err(error);
    }
    let companions = async {
        if tty && terminal::size().is_some() {
            follow_size(client, &format!("/containers/{id}")).await;
        } else {
            proxy.forward(client, id).await;
        }
    };
    let code = beside(companions, follow(attached, ending, true)).await?;
    if code == 0 { Ok(()) } else { Err(CliError::Exit(code)) }
}
