//! `exec`: another process in a container that runs.

use serde::Deserialize;
use serde_json::{Value, json};

use super::container_path;
use super::key_value::{self, Entry};
use super::run::beside;
use crate::cli::attach::{self, Attached, Attachment, DetachKeys, End, check_terminal, follow_size};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;
use crate::os::terminal;

/// `holm exec`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string", default_value = "")]
    detach_keys: DetachKeys,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = key_value::variable)]
    env: Vec<Entry>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string", default_value = "")]
    user: String,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string", default_value = "")]
    workdir: String,
    // One argument list, so that what follows the container is never read as a flag of ours.
    #[arg(
        required = true,
        num_args = 2..,
        trailing_var_arg = true,
        value_name = "CONTAINER COMMAND [ARG...]"
    )]
    container_and_command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    exit_code: Option<i64>,
}

/// Runs the process. Its status is the error, if it is not 0.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let client = &session.client;
    let container = args.container_and_command.first().map(String::as_str).unwrap_or_default();
    let body = args.body(&key_value::variables(&args.env_file, &args.env, &session.variables)?);
    // A container that is not there is told before a terminal that is not there, and an exec that was made
    // can not be unmade.
    client.send(Call::get(container_path(container, "/json")?)).await?.bytes().await?;
    if !args.detach {
        check_terminal(args.interactive, args.tty)?;
    }
    let create = Call::post(container_path(container, "/exec")?).json(&body)?;
    let Created { id } = client.send(create).await?.json().await?;
    let start = Call::post(format!("/exec/{id}/start")).json(&json!({
        "Detach": args.detach, "Tty": args.tty, "ConsoleSize": args.console_size(),
    }))?;
    if args.detach {
        return client.send(start).await.map(drop);
    }
    let how = Attachment {
        stdin: args.interactive,
        stdout: true,
        stderr: true,
        tty: args.tty,
        keys: session.detach_keys(args.detach_keys.clone())?,
    };
    let attached = Attached::call(client, start, how).await?;
    let path = format!("/exec/{id}");
    let companions = async {
        if args.tty && terminal::size().is_some() {
            follow_size(client, &path).await;
        }
    };
    match beside(companions, attached.stream()).await? {
        End::Detached => Err(attach::detached()),
        End::Output => status(session, &id).await,
    }
}

async fn status(session: &Session, id: &str) -> Result<(), CliError> {
    let call = Call::get(format!("/exec/{id}/json"));
    let inspected: Inspected = session.client.send(call).await?.json().await?;
    match inspected.exit_code.unwrap_or(0) {
        0 => Ok(()),
        code => Err(CliError::Exit((code & 0xff) as u8)),
    }
}

impl Args {
    fn body(&self, env: &[String]) -> Value {
        let attached = !self.detach;
        json!({
            "User": self.user,
            "Privileged": self.privileged,
            "Tty": self.tty,
            "ConsoleSize": self.console_size(),
            "AttachStdin": attached && self.interactive,
            "AttachStdout": attached,
            "AttachStderr": attached,
            "DetachKeys": self.detach_keys.custom().unwrap_or_default(),
            "Env": env,
            "WorkingDir": self.workdir,
            "Cmd": self.container_and_command.get(1..).unwrap_or_default(),
        })
    }

    /// Rows and columns of our terminal, so that the process finds the right size from its first moment.
    fn console_size(&self) -> Option<[u16; 2]> {
        let (rows, columns) = terminal::size().filter(|size| self.tty && *size != (0, 0))?;
        Some([rows, columns])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, FromArgMatches, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        let command = crate::cli::flags::as_docker_reads_them(Line::command());
        let matches = command.try_get_matches_from([&["exec"], words].concat()).unwrap();
        Line::from_arg_matches(&matches).unwrap().args
    }

    #[test]
    fn what_follows_the_container_belongs_to_the_process() {
        let args = args(&["-itu", "root", "-w=/tmp", "-e", "A=1", "web", "ls", "-d", "--", "-t"]);
        let body = args.body(&["A=1".to_owned()]);
        assert_eq!(body["Cmd"], json!(["ls", "-d", "--", "-t"]));
        assert_eq!(body["User"], "root");
        assert_eq!(body["WorkingDir"], "/tmp");
        assert_eq!((&body["AttachStdin"], &body["Tty"]), (&json!(true), &json!(true)));
        assert!(!args.detach);
    }

    #[test]
    fn a_process_in_the_background_is_not_attached() {
        let body = args(&["-d", "-i", "web", "sleep", "1"]).body(&[]);
        for stream in ["AttachStdin", "AttachStdout", "AttachStderr"] {
            assert_eq!(body[stream], false, "{stream}");
        }
    }
}
