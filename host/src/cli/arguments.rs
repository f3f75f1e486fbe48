//! The commands as clap sees them, and which file each goes to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::client::Client;
use super::endpoint::Endpoint;
use super::environment::{Environment, Program};
use super::error::CliError;
use super::session::{self, Session};
use super::{completion, container, machine, system, usage};

/// Help of `--format` where the output is a table.
pub(crate) const TABLE_FORMAT_HELP: &str = "Format output using a custom template:
'table':            Print output in table format with column headers (default)
'table TEMPLATE':   Print output in table format using the given Go template
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";
/// Help of `--format` where the output is one object.
pub(crate) const OBJECT_FORMAT_HELP: &str = "Format output using a custom template:
'json':             Print in JSON format
'TEMPLATE':         Print output using the given Go template.
Refer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates";

/// Linux containers for this computer
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Daemon socket to connect to
    #[arg(short = 'H', long = "host", value_name = "list")]
    hosts: Vec<String>,
    /// Print version information and quit
    #[arg(short = 'v', long)]
    version: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List containers
    Ps(container::ps::Args),
    /// Show the Docker version information
    Version(system::version::Args),
    /// Manage containers
    Container {
        #[command(subcommand)]
        command: ContainerCommand,
    },
    /// Manage the machine that containers run in
    Machine {
        #[command(subcommand)]
        command: machine::Command,
    },
    /// Run the daemon in the foreground
    Daemon,
    /// Print the completion script for a shell
    Completion(completion::Args),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    GenerateMan(completion::ManArgs),
}

#[derive(Debug, Subcommand)]
enum ContainerCommand {
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(container::ps::Args),
}

/// Does what was asked for.
pub(crate) fn dispatch(
    arguments: Arguments,
    program: Program,
    environment: Environment,
) -> Result<ExitCode, CliError> {
    let Arguments { hosts, version, command } = arguments;
    if version {
        session::print_line(&format!("{} version {}", program.product(), holm_api::VERSION))?;
        return Ok(ExitCode::SUCCESS);
    }
    let host = match hosts.as_slice() {
        [] => None,
        [host] => Some(host.as_str()),
        _ => return Err(CliError::said("specify only one -H")),
    };
    let Some(command) = command else {
        // Asked nothing, Docker says what could be asked, and is content.
        session::warn(usage::top_help(program).trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    let caller = Caller { program, host, environment: &environment };
    match command {
        Command::Machine { command } => machine::run(command, &environment.daemon)?,
        Command::Daemon => return Ok((environment.daemon.serve)()),
        Command::Completion(args) => completion::print_script(&args, program)?,
        Command::GenerateMan(args) => completion::write_manual(&args)?,
        Command::Version(args) => system::version::run(&args, &caller)?,
        Command::Ps(args) | Command::Container { command: ContainerCommand::Ls(args) } => {
            caller.api(async |session| container::ps::run(args, session).await)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Who gave the command, and where it goes.
pub(crate) struct Caller<'a> {
    /// The name the user called.
    pub(crate) program: Program,
    /// What `-H` says.
    pub(crate) host: Option<&'a str>,
    /// The surroundings.
    pub(crate) environment: &'a Environment,
}

impl Caller<'_> {
    /// Runs a command that cannot do anything without the daemon.
    fn api(&self, command: impl AsyncFnOnce(&Session) -> Result<(), CliError>) -> Result<(), CliError> {
        self.ensure_daemon()?;
        self.with_session(command)
    }

    /// Starts our own daemon if it is the one meant and is not running.
    pub(crate) fn ensure_daemon(&self) -> Result<(), CliError> {
        if self.endpoint()?.explicit {
            return Ok(());
        }
        (self.environment.daemon.ensure_running)().map_err(CliError::Daemon)
    }

    /// Runs a command whether or not a daemon answers.
    pub(crate) fn with_session<T>(
        &self,
        command: impl AsyncFnOnce(&Session) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let variables = self.environment.variables.clone();
        let version = variables.get("DOCKER_API_VERSION").filter(|version| !version.is_empty());
        let version = version.map(|version| version.trim_start_matches('v').to_owned());
        let client = Client::new(self.endpoint()?, self.program, version);
        let session = Session { client, program: self.program, variables };
        let runtime = super::runtime()?;
        let outcome = runtime.block_on(command(&session));
        // A thread may still wait for standard input, which nobody has to type into any more.
        runtime.shutdown_background();
        outcome
    }

    /// Whether the user named the daemon, which then is not ours to look after.
    pub(crate) fn names_a_host(&self) -> bool {
        self.endpoint().is_ok_and(|endpoint| endpoint.explicit)
    }

    fn endpoint(&self) -> Result<Endpoint, CliError> {
        Endpoint::choose(self.host, &self.environment.variables, &self.environment.home)
    }
}
