//! The commands as clap sees them, and which file each goes to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::client::Client;
use super::endpoint::Endpoint;
use super::environment::{Environment, Program};
use super::error::CliError;
use super::session::{self, Session};
use super::{completion, container, image, inspect, machine, system, usage};

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
    #[command(flatten)]
    Engine(Box<EngineCommand>),
    /// Display system-wide information
    Info(system::info::Args),
    /// Show the Docker version information
    Version(system::version::Args),
    /// Manage Docker
    System {
        #[command(subcommand)]
        command: SystemCommand,
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

/// Commands that can do nothing without the engine.
#[derive(Debug, Subcommand)]
enum EngineCommand {
    /// Attach local standard input, output, and error streams to a running container
    Attach(container::attach::Args),
    /// Create a new container
    Create(container::create::Args),
    /// Get real time events from the server
    Events(system::events::Args),
    /// Execute a command in a running container
    Exec(container::exec::Args),
    /// Show the history of an image
    History(image::history::Args),
    /// List images
    Images(image::images::Args),
    /// Return low-level information on Docker objects
    Inspect(inspect::Args),
    /// Kill one or more running containers
    Kill(container::stop::KillArgs),
    /// Fetch the logs of a container
    Logs(container::logs::Args),
    /// List containers
    Ps(container::ps::Args),
    /// Download an image from a registry
    Pull(image::pull::Args),
    /// Restart one or more containers
    Restart(container::stop::Args),
    /// Remove one or more containers
    Rm(container::rm::Args),
    /// Remove one or more images
    Rmi(image::rmi::Args),
    /// Create and run a new container from an image
    Run(container::run::Args),
    /// Start one or more stopped containers
    Start(container::start::Args),
    /// Stop one or more running containers
    Stop(container::stop::Args),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(image::tag::Args),
    /// Block until one or more containers stop, then print their exit codes
    Wait(container::wait::Args),
    /// Manage containers
    Container {
        #[command(subcommand)]
        command: ContainerCommand,
    },
    /// Manage images
    Image {
        #[command(subcommand)]
        command: ImageCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ContainerCommand {
    /// Attach local standard input, output, and error streams to a running container
    Attach(container::attach::Args),
    /// Create a new container
    Create(container::create::Args),
    /// Execute a command in a running container
    Exec(container::exec::Args),
    /// Display detailed information on one or more containers
    Inspect(inspect::ContainerArgs),
    /// Kill one or more running containers
    Kill(container::stop::KillArgs),
    /// Fetch the logs of a container
    Logs(container::logs::Args),
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(container::ps::Args),
    /// Restart one or more containers
    Restart(container::stop::Args),
    /// Remove one or more containers
    #[command(alias = "remove")]
    Rm(container::rm::Args),
    /// Create and run a new container from an image
    Run(container::run::Args),
    /// Start one or more stopped containers
    Start(container::start::Args),
    /// Stop one or more running containers
    Stop(container::stop::Args),
    /// Block until one or more containers stop, then print their exit codes
    Wait(container::wait::Args),
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Show the history of an image
    History(image::history::Args),
    /// Display detailed information on one or more images
    Inspect(inspect::ImageArgs),
    /// List images
    #[command(alias = "list")]
    Ls(image::images::Args),
    /// Download an image from a registry
    Pull(image::pull::Args),
    /// Remove one or more images
    #[command(aliases = ["rmi", "remove"])]
    Rm(image::rmi::Args),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(image::tag::Args),
}

#[derive(Debug, Subcommand)]
enum SystemCommand {
    /// Get real time events from the server
    Events(system::events::Args),
    /// Display system-wide information
    Info(system::info::Args),
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
        _ => {
            return Err(CliError::said(
                "Failed to initialize: unable to resolve docker endpoint: Specify only one -H",
            ));
        }
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
        Command::Info(args) | Command::System { command: SystemCommand::Info(args) } => {
            system::info::run(&args, &caller)?;
        }
        Command::System { command: SystemCommand::Events(args) } => {
            caller.api(async |session| system::events::run(args, session).await)?;
        }
        Command::Engine(command) => caller.api(async |session| call(*command, session).await)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what the engine has to do. A command has one meaning, at the top and in its group.
async fn call(command: EngineCommand, session: &Session) -> Result<(), CliError> {
    use ContainerCommand as Container;
    use EngineCommand as Top;
    use ImageCommand as Image;

    match command {
        Top::Attach(args) | Top::Container { command: Container::Attach(args) } => {
            container::attach::run(args, session).await
        }
        Top::Create(args) | Top::Container { command: Container::Create(args) } => {
            container::create::run(args, session).await
        }
        Top::Events(args) => system::events::run(args, session).await,
        Top::Exec(args) | Top::Container { command: Container::Exec(args) } => {
            container::exec::run(args, session).await
        }
        Top::History(args) | Top::Image { command: Image::History(args) } => {
            image::history::run(args, session).await
        }
        Top::Images(args) | Top::Image { command: Image::Ls(args) } => {
            image::images::run(args, session).await
        }
        Top::Inspect(args) => inspect::run(args, session).await,
        Top::Container { command: Container::Inspect(args) } => inspect::containers(args, session).await,
        Top::Image { command: Image::Inspect(args) } => inspect::images(args, session).await,
        Top::Kill(args) | Top::Container { command: Container::Kill(args) } => {
            container::stop::kill(args, session).await
        }
        Top::Logs(args) | Top::Container { command: Container::Logs(args) } => {
            container::logs::run(args, session).await
        }
        Top::Ps(args) | Top::Container { command: Container::Ls(args) } => {
            container::ps::run(args, session).await
        }
        Top::Pull(args) | Top::Image { command: Image::Pull(args) } => image::pull::run(args, session).await,
        Top::Restart(args) | Top::Container { command: Container::Restart(args) } => {
            container::stop::restart(args, session).await
        }
        Top::Rm(args) | Top::Container { command: Container::Rm(args) } => {
            container::rm::run(args, session).await
        }
        Top::Rmi(args) | Top::Image { command: Image::Rm(args) } => image::rmi::run(args, session).await,
        Top::Run(args) | Top::Container { command: Container::Run(args) } => {
            container::run::run(args, session).await
        }
        Top::Start(args) | Top::Container { command: Container::Start(args) } => {
            container::start::run(args, session).await
        }
        Top::Stop(args) | Top::Container { command: Container::Stop(args) } => {
            container::stop::stop(args, session).await
        }
        Top::Tag(args) | Top::Image { command: Image::Tag(args) } => image::tag::run(args, session).await,
        Top::Wait(args) | Top::Container { command: Container::Wait(args) } => {
            container::wait::run(args, session).await
        }
    }
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
