//! The flags of `run` and `create` that say what the container shall be, and the request that they make.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use holm_api::models::{ContainerCreateBody, HostConfig};

use super::key_value::{self, Entry};
use crate::cli::error::CliError;
use crate::cli::flags::integer;

/// Flags that describe a container.
#[derive(Debug, clap::Args)]
pub(crate) struct ContainerFlags {
    /// Attach to STDIN, STDOUT or STDERR
    #[arg(short, long, value_name = "list")]
    attach: Vec<Stream>,
    /// Write the container ID to the file
    #[arg(long, value_name = "string", default_value = "")]
    pub(super) cidfile: String,
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
    /// Set meta data on a container
    #[arg(short, long, value_name = "list", value_parser = key_value::label)]
    label: Vec<Entry>,
    /// Read in a line delimited file of labels
    #[arg(long, value_name = "list")]
    label_file: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string", default_value = "")]
    pub(super) name: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "")]
    pub(super) platform: String,
    /// Suppress the pull output
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Mount the container's root filesystem as read only
    #[arg(long)]
    read_only: bool,
    /// Automatically remove the container and its associated anonymous volumes when it exits
    #[arg(long)]
    rm: bool,
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
pub(crate) enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
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

/// When an image is pulled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Even if it is there.
    Always,
    /// If it is not there.
    Missing,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// Reads `--pull`.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => Err(CliError::said(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }
}

/// What the flags make: a container as the engine wants it described.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As the user typed it.
    pub(super) image: String,
    /// The request. Its image is `image`.
    pub(super) body: ContainerCreateBody,
    /// The streams to attach to.
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Whether `--attach` was given.
    pub(super) attaches: bool,
    pub(super) tty: bool,
    pub(super) removed: bool,
}

impl ContainerFlags {
    /// Checks the flags and fills in what they leave open. Reads the files that they name.
    pub(super) fn plan(&self, variables: &BTreeMap<String, String>) -> Result<Plan, CliError> {
        let attached = |stream| self.attach.contains(&stream);
        let default = self.attach.is_empty();
        let (image, command) = match self.image_and_command.split_first() {
            Some((image, command)) => (image.clone(), command.to_vec()),
            None => (String::new(), Vec::new()),
        };
        let mut env = Vec::new();
        for file in &self.env_file {
            env.extend(key_value::read_file(Path::new(file), key_value::variable)?);
        }
        env.extend(self.env.iter().cloned());
        let mut labels = Vec::new();
        for file in &self.label_file {
            labels.extend(key_value::read_file(Path::new(file), key_value::label)?);
        }
        labels.extend(self.label.iter().cloned());
        let labels: HashMap<String, String> =
            labels.into_iter().map(|Entry { name, value }| (name, value.unwrap_or_default())).collect();

        let stdin = self.interactive || attached(Stream::Stdin);
        let stdout = default || attached(Stream::Stdout);
        let stderr = default || attached(Stream::Stderr);
        let body = ContainerCreateBody {
            hostname: Some(self.hostname.clone()),
            domainname: Some(self.domainname.clone()),
            user: Some(self.user.clone()),
            attach_stdin: Some(stdin),
            attach_stdout: Some(stdout),
            attach_stderr: Some(stderr),
            tty: Some(self.tty),
            open_stdin: Some(self.interactive),
            // The container's input ends when we go away, unless it is to outlive us.
            stdin_once: Some(self.interactive && stdin),
            env: Some(key_value::environment(env, variables)),
            cmd: (!command.is_empty()).then_some(command),
            image: Some(image.clone()),
            working_dir: Some(self.workdir.clone()),
            // `--entrypoint ""` takes the image's away.
            entrypoint: self.entrypoint.clone().map(|entrypoint| vec![entrypoint]),
            labels: Some(labels),
            stop_signal: Some(self.stop_signal.clone()).filter(|signal| !signal.is_empty()),
            stop_timeout: self.stop_timeout,
            host_config: Some(HostConfig {
                auto_remove: Some(self.rm),
                readonly_rootfs: Some(self.read_only),
                // Without the flag, the engine's own setting decides.
                init: self.init.then_some(true),
                network_mode: Some("default".to_owned()),
                console_size: Some(console_size()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        Ok(Plan { image, body, stdin, stdout, stderr, attaches: !default, tty: self.tty, removed: self.rm })
    }
}

impl Plan {
    /// A container that is not attached to from its start.
    pub(super) fn detached(mut self) -> Self {
        (self.stdin, self.stdout, self.stderr) = (false, false, false);
        self.body.attach_stdin = Some(false);
        self.body.attach_stdout = Some(false);
        self.body.attach_stderr = Some(false);
        self.body.stdin_once = Some(false);
        self
    }
}

/// Rows and columns, zeros where there is no terminal.
fn console_size() -> Vec<usize> {
    let (rows, columns) = crate::os::terminal::size().unwrap_or((0, 0));
    vec![usize::from(rows), usize::from(columns)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::{Value, json};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        flags: ContainerFlags,
    }

    fn plan(words: &[&str]) -> Plan {
        use clap::{CommandFactory, FromArgMatches};
        let command = crate::cli::flags::as_docker_reads_them(Line::command());
        let matches = command.try_get_matches_from([&["run"], words].concat()).unwrap();
        let variables = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        Line::from_arg_matches(&matches).unwrap().flags.plan(&variables).unwrap()
    }

    fn body(words: &[&str]) -> Value {
        serde_json::to_value(plan(words).body).unwrap()
    }

    #[test]
    fn an_image_alone_attaches_to_its_output() {
        let body = body(&["alpine"]);
        assert_eq!(body["Image"], "alpine");
        assert_eq!(body["AttachStdin"], false);
        assert_eq!(body["AttachStdout"], true);
        assert_eq!(body["AttachStderr"], true);
        for absent in ["Cmd", "Entrypoint", "StopSignal", "StopTimeout"] {
            assert_eq!(body.get(absent), None, "{absent}");
        }
        assert_eq!(body["HostConfig"].get("Init"), None);
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_container() {
        let body = body(&["--rm", "alpine", "ls", "-it", "--rm=x", "--", "-e"]);
        assert_eq!(body["Cmd"], json!(["ls", "-it", "--rm=x", "--", "-e"]));
        assert_eq!(body["Tty"], false);
    }

    #[test]
    fn letters_can_be_joined_and_switches_turned_off() {
        let body = body(&["-it", "--rm=false", "--init", "--read-only", "alpine"]);
        assert_eq!(body["Tty"], true);
        assert_eq!(body["OpenStdin"], true);
        assert_eq!(body["StdinOnce"], true);
        assert_eq!(body["HostConfig"]["AutoRemove"], false);
        assert_eq!(body["HostConfig"]["ReadonlyRootfs"], true);
        assert_eq!(body["HostConfig"]["Init"], true);
    }

    #[test]
    fn variables_without_a_value_come_from_our_own_environment() {
        let body = body(&["-e", "A=1", "--env=HOME", "-eNOT_SET", "-e", "B=-x=y", "alpine"]);
        assert_eq!(body["Env"], json!(["A=1", "HOME=/root", "B=-x=y"]));
    }

    #[test]
    fn labels_may_lack_a_value() {
        let body = body(&["-l", "a", "--label", "b=c=d", "alpine"]);
        assert_eq!(body["Labels"], json!({"a": "", "b": "c=d"}));
    }

    #[test]
    fn an_empty_entrypoint_takes_the_images_away() {
        assert_eq!(body(&["--entrypoint", "", "alpine"])["Entrypoint"], json!([""]));
        assert_eq!(body(&["--entrypoint=sh", "alpine"])["Entrypoint"], json!(["sh"]));
    }

    #[test]
    fn attaching_to_one_stream_leaves_the_others() {
        let plan = plan(&["-a", "STDERR", "-h", "box", "alpine"]);
        assert_eq!((plan.stdin, plan.stdout, plan.stderr), (false, false, true));
        assert_eq!(plan.body.hostname.as_deref(), Some("box"));
    }

    #[test]
    fn files_of_variables_are_read_before_the_flags() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "\u{feff}# a comment\n\n  A=from file\nHOME\nNOT_SET\n").unwrap();
        let body = body(&["-e", "A=2", "--env-file", file.path().to_str().unwrap(), "alpine"]);
        assert_eq!(body["Env"], json!(["A=from file", "HOME=/root", "A=2"]));
    }
}
