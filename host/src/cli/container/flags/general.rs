//! What runs in the container, as whom and with which streams; its names and labels.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Part, Plan, extend, list, pairs};
use crate::cli::container::key_value::{self, Entry};
use crate::cli::error::CliError;
use crate::cli::options::integer;

#[derive(Debug, clap::Args)]
pub(in crate::cli::container) struct GeneralFlags {
    /// Add an annotation to the container (passed through to the OCI runtime) (default map[])
    #[arg(long, value_name = "map")]
    annotation: Vec<String>,
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list")]
    attach: Vec<Stream>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string", default_value = "")]
    pub(in crate::cli::container) cidfile: String,
    // Hidden: they are for another kind of engine, and Docker refuses them by these words.
    #[arg(long, value_name = "int", hide = true)]
    cpu_count: Option<String>,
    #[arg(long, value_name = "int", hide = true)]
    cpu_percent: Option<String>,
    #[arg(long, value_name = "bytes", hide = true)]
    io_maxbandwidth: Option<String>,
    #[arg(long, value_name = "uint", hide = true)]
    io_maxiops: Option<String>,
    /// Skip image verification
    #[arg(long, default_value = "true", action = clap::ArgAction::SetTrue)]
    disable_content_trust: bool,
    /// Container NIS domain name
    #[arg(long, value_name = "string", default_value = "")]
    domainname: String,
    /// Overwrite the default ENTRYPOINT of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list", value_parser = key_value::variable)]
    env: Vec<Entry>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<String>,
    /// Container host name
    #[arg(short = 'h', long, value_name = "string", default_value = "")]
    hostname: String,
    /// Run an init inside the container that forwards signals and reaps processes
    #[arg(long)]
    init: bool,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Container isolation technology
    #[arg(long, value_name = "string", default_value = "")]
    isolation: String,
    /// Set meta data on a container
    #[arg(short, long, value_name = "list", value_parser = key_value::label)]
    label: Vec<String>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    label_file: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string", default_value = "")]
    pub(in crate::cli::container) name: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "")]
    pub(in crate::cli::container) platform: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(in crate::cli::container) quiet: bool,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long = "rm")]
    pub(super) removed: bool,
    /// Runtime to use for this container
    #[arg(long, value_name = "string", default_value = "")]
    runtime: String,
    /// Bind mount Docker API socket and required auth
    #[arg(long)]
    pub(in crate::cli::container) use_api_socket: bool,
    /// Signal to stop the container
    #[arg(long, value_name = "string", default_value = "")]
    stop_signal: String,
    /// Timeout (in seconds) to stop a container
    #[arg(long, value_name = "int", value_parser = integer)]
    stop_timeout: Option<i64>,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: <name|uid>[:<group|gid>])
    #[arg(short, long, value_name = "string", default_value = "")]
    user: String,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string", default_value = "")]
    workdir: String,
    // One argument list, so that what follows the image is never read as a flag of ours.
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND] [ARG...]")]
    image_and_command: Vec<String>,
}

/// A stream that can be attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

impl std::str::FromStr for Stream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "stdin" => Ok(Self::Stdin),
            "stdout" => Ok(Self::Stdout),
            "stderr" => Ok(Self::Stderr),
            _ => Err("valid streams are STDIN, STDOUT and STDERR"),
        }
    }
}

impl GeneralFlags {
    pub(super) fn write(
        &self,
        config: &mut Part,
        host: &mut Part,
        variables: &BTreeMap<String, String>,
    ) -> Result<(), CliError> {
        self.refuse_foreign()?;
        let env = key_value::variables(&self.env_file, &self.env, variables)?;
        let labels = key_value::labels(&self.label_file, &self.label)?;
        let (stdin, stdout, stderr) = self.streams();
        extend(
            config,
            json!({
                "Hostname": self.hostname,
                "Domainname": self.domainname,
                "User": self.user,
                "AttachStdin": stdin,
                "AttachStdout": stdout,
                "AttachStderr": stderr,
                "Tty": self.tty,
                "OpenStdin": self.interactive,
                // The container's input ends when we go away, unless it is to outlive us.
                "StdinOnce": self.interactive && stdin,
                "Env": list(&env),
                "Cmd": list(self.image_and_command.get(1..).unwrap_or_default()),
                "Image": self.image(),
                "WorkingDir": self.workdir,
                // `--entrypoint ""` takes the image's away.
                "Entrypoint": self.entrypoint.as_ref().map(|entrypoint| [entrypoint]),
                "OnBuild": null,
                "Labels": pairs(&labels),
            }),
        );
        if !self.stop_signal.is_empty() {
            config.insert("StopSignal".to_owned(), self.stop_signal.clone().into());
        }
        if let Some(seconds) = self.stop_timeout {
            config.insert("StopTimeout".to_owned(), seconds.into());
        }
        extend(
            host,
            json!({
                "ContainerIDFile": self.cidfile,
                "AutoRemove": self.removed,
                "ConsoleSize": console_size(),
                "Isolation": self.isolation,
                "Cgroup": "",
            }),
        );
        // Without these flags, the engine's own settings decide.
        if self.init {
            host.insert("Init".to_owned(), true.into());
        }
        if !self.runtime.is_empty() {
            host.insert("Runtime".to_owned(), self.runtime.clone().into());
        }
        if !self.annotation.is_empty() {
            host.insert("Annotations".to_owned(), pairs(&self.annotation));
        }
        Ok(())
    }

    fn refuse_foreign(&self) -> Result<(), CliError> {
        for (flag, value) in [
            ("--cpu-count", &self.cpu_count),
            ("--cpu-percent", &self.cpu_percent),
            ("--io-maxbandwidth", &self.io_maxbandwidth),
            ("--io-maxiops", &self.io_maxiops),
        ] {
            if value.is_some() {
                return Err(CliError::said(format!(
                    "\"{flag}\" is only supported on a Docker daemon running on windows, but the Docker daemon is running on linux"
                )));
            }
        }
        if !self.disable_content_trust {
            return Err(CliError::said(
                "content trust is not supported: leave out --disable-content-trust=false",
            ));
        }
        Ok(())
    }

    fn image(&self) -> String {
        self.image_and_command.first().cloned().unwrap_or_default()
    }

    /// Standard input, output and error: which of them are attached.
    fn streams(&self) -> (bool, bool, bool) {
        let attached = |stream| self.attach.contains(&stream);
        let default = self.attach.is_empty();
        (
            self.interactive || attached(Stream::Stdin),
            default || attached(Stream::Stdout),
            default || attached(Stream::Stderr),
        )
    }

    pub(super) fn plan(&self, body: Value) -> Plan {
        let (stdin, stdout, stderr) = self.streams();
        Plan {
            image: self.image(),
            body,
            stdin,
            stdout,
            stderr,
            attaches: !self.attach.is_empty(),
            tty: self.tty,
            removed: self.removed,
        }
    }
}

/// Rows and columns, zeros where there is no terminal.
fn console_size() -> [u16; 2] {
    let (rows, columns) = crate::os::terminal::size().unwrap_or((0, 0));
    [rows, columns]
}
