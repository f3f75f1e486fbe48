//! The commands as clap sees them, and which file each goes to.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::client::Client;
use super::config::ConfigFolder;
use super::context::store::Context;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::environment::{Environment, Program};
use super::error::CliError;
use super::global::{Choice, GlobalFlags};
use super::session::{self, Session};
use super::{
    completion, container, context, doctor, image, inspect, machine, network, registry, share, system, usage,
    volume,
};

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
    #[command(flatten)]
    global: GlobalFlags,
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
    /// Log out from a registry
    #[command(long_about = registry::logout::ABOUT)]
    Logout(registry::logout::Args),
    /// Manage contexts
    Context {
        #[command(subcommand)]
        command: context::Command,
    },
    /// Manage the machine that containers run in
    Machine {
        #[command(subcommand)]
        command: machine::Command,
    },
    /// See what of this computer containers have mounted
    Share {
        #[command(subcommand)]
        command: share::Command,
    },
    /// Look for what is wrong between containers and the world, and say what to do
    Doctor(doctor::Args),
    /// Run the daemon in the foreground
    Daemon,
    /// Print the completion script for a shell
    Completion(completion::Args),
    /// Print what the last word of a command line may become
    #[command(hide = true, name = "__complete")]
    Complete(completion::CompleteArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    GenerateMan(completion::ManArgs),
}

/// Commands that can do nothing without the engine.
#[derive(Debug, Subcommand)]
enum EngineCommand {
    /// Attach local standard input, output, and error streams to a running container
    Attach(container::attach::Args),
    /// Create a new image from a container's changes
    Commit(container::commit::Args),
    /// Copy files/folders between a container and the local filesystem
    #[command(long_about = container::cp::ABOUT)]
    Cp(container::cp::Args),
    /// Create a new container
    Create(container::create::Args),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(container::diff::Args),
    /// Get real time events from the server
    Events(system::events::Args),
    /// Execute a command in a running container
    Exec(container::exec::Args),
    /// Export a container's filesystem as a tar archive
    Export(container::export::Args),
    /// Show the history of an image
    History(image::history::Args),
    /// List images
    Images(image::images::Args),
    /// Import the contents from a tarball to create a filesystem image
    Import(image::import::Args),
    /// Return low-level information on Docker objects
    Inspect(inspect::Args),
    /// Kill one or more running containers
    Kill(container::stop::KillArgs),
    /// Load an image from a tar archive or STDIN
    Load(image::load::Args),
    /// Authenticate to a registry
    #[command(long_about = registry::login::ABOUT)]
    Login(registry::login::Args),
    /// Fetch the logs of a container
    Logs(container::logs::Args),
    /// Pause all processes within one or more containers
    Pause(container::pause::Args),
    /// List port mappings or a specific mapping for the container
    Port(container::port::Args),
    /// List containers
    Ps(container::ps::Args),
    /// Download an image from a registry
    Pull(image::pull::Args),
    /// Upload an image to a registry
    Push(image::push::Args),
    /// Rename a container
    Rename(container::rename::Args),
    /// Restart one or more containers
    Restart(container::stop::Args),
    /// Remove one or more containers
    Rm(container::rm::Args),
    /// Remove one or more images
    Rmi(image::rmi::Args),
    /// Create and run a new container from an image
    Run(container::run::Args),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(image::save::Args),
    /// Search Docker Hub for images
    Search(registry::search::Args),
    /// Start one or more stopped containers
    Start(container::start::Args),
    /// Display a live stream of container(s) resource usage statistics
    Stats(container::stats::Args),
    /// Stop one or more running containers
    Stop(container::stop::Args),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(image::tag::Args),
    /// Display the running processes of a container
    Top(container::top::Args),
    /// Unpause all processes within one or more containers
    Unpause(container::pause::Args),
    /// Update configuration of one or more containers
    Update(container::update::Args),
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
    /// Manage networks
    Network {
        #[command(subcommand)]
        command: NetworkCommand,
    },
    /// Manage volumes
    Volume {
        #[command(subcommand)]
        command: VolumeCommand,
    },
}

#[derive(Debug, Subcommand)]
enum ContainerCommand {
    /// Attach local standard input, output, and error streams to a running container
    Attach(container::attach::Args),
    /// Create a new image from a container's changes
    Commit(container::commit::Args),
    /// Copy files/folders between a container and the local filesystem
    #[command(long_about = container::cp::ABOUT)]
    Cp(container::cp::Args),
    /// Create a new container
    Create(container::create::Args),
    /// Inspect changes to files or directories on a container's filesystem
    Diff(container::diff::Args),
    /// Execute a command in a running container
    Exec(container::exec::Args),
    /// Export a container's filesystem as a tar archive
    Export(container::export::Args),
    /// Display detailed information on one or more containers
    Inspect(inspect::ContainerArgs),
    /// Kill one or more running containers
    Kill(container::stop::KillArgs),
    /// Fetch the logs of a container
    Logs(container::logs::Args),
    /// List containers
    #[command(aliases = ["list", "ps"])]
    Ls(container::ps::Args),
    /// Pause all processes within one or more containers
    Pause(container::pause::Args),
    /// List port mappings or a specific mapping for the container
    Port(container::port::Args),
    /// Remove all stopped containers
    Prune(container::prune::Args),
    /// Rename a container
    Rename(container::rename::Args),
    /// Restart one or more containers
    Restart(container::stop::Args),
    /// Remove one or more containers
    #[command(alias = "remove")]
    Rm(container::rm::Args),
    /// Create and run a new container from an image
    Run(container::run::Args),
    /// Start one or more stopped containers
    Start(container::start::Args),
    /// Display a live stream of container(s) resource usage statistics
    Stats(container::stats::Args),
    /// Stop one or more running containers
    Stop(container::stop::Args),
    /// Display the running processes of a container
    Top(container::top::Args),
    /// Unpause all processes within one or more containers
    Unpause(container::pause::Args),
    /// Update configuration of one or more containers
    Update(container::update::Args),
    /// Block until one or more containers stop, then print their exit codes
    Wait(container::wait::Args),
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Show the history of an image
    History(image::history::Args),
    /// Import the contents from a tarball to create a filesystem image
    Import(image::import::Args),
    /// Display detailed information on one or more images
    Inspect(inspect::ImageArgs),
    /// Load an image from a tar archive or STDIN
    Load(image::load::Args),
    /// List images
    #[command(alias = "list")]
    Ls(image::images::Args),
    /// Remove unused images
    Prune(image::prune::Args),
    /// Download an image from a registry
    Pull(image::pull::Args),
    /// Upload an image to a registry
    Push(image::push::Args),
    /// Remove one or more images
    #[command(aliases = ["rmi", "remove"])]
    Rm(image::rmi::Args),
    /// Save one or more images to a tar archive (streamed to STDOUT by default)
    Save(image::save::Args),
    /// Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE
    Tag(image::tag::Args),
}

#[derive(Debug, Subcommand)]
enum NetworkCommand {
    /// Connect a container to a network
    Connect(network::connect::Args),
    /// Create a network
    Create(network::create::Args),
    /// Disconnect a container from a network
    Disconnect(network::disconnect::Args),
    /// Display detailed information on one or more networks
    Inspect(inspect::NetworkArgs),
    /// List networks
    #[command(alias = "list")]
    Ls(network::ls::Args),
    /// Remove all unused networks
    Prune(network::prune::Args),
    /// Remove one or more networks
    #[command(alias = "remove")]
    Rm(network::rm::Args),
}

#[derive(Debug, Subcommand)]
enum VolumeCommand {
    /// Create a volume
    Create(volume::create::Args),
    /// Display detailed information on one or more volumes
    Inspect(inspect::VolumeArgs),
    /// List volumes
    #[command(alias = "list")]
    Ls(volume::ls::Args),
    /// Remove unused local volumes
    Prune(volume::prune::Args),
    /// Remove one or more volumes
    #[command(alias = "remove", long_about = volume::rm::ABOUT)]
    Rm(volume::rm::Args),
}

#[derive(Debug, Subcommand)]
enum SystemCommand {
    /// See whether all images of the machine are whole
    Check,
    /// Show docker disk usage
    Df(system::df::Args),
    #[command(hide = true, about = system::dial_stdio::ABOUT)]
    DialStdio,
    /// Get real time events from the server
    Events(system::events::Args),
    /// Display system-wide information
    Info(system::info::Args),
    /// Remove unused data
    Prune(system::prune::Args),
}

/// Does what was asked for.
pub(crate) fn dispatch(
    arguments: Arguments,
    program: Program,
    environment: Environment,
) -> Result<ExitCode, CliError> {
    let Arguments { global, version, command } = arguments;
    if version {
        session::print_line(&format!("{} version {}", program.product(), holm_api::VERSION))?;
        return Ok(ExitCode::SUCCESS);
    }
    global.check()?;
    let Some(command) = command else {
        // Asked nothing, Docker says what could be asked, and is content.
        session::warn(usage::top_help(program).trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    let config = global.config_folder(&environment.variables);
    let caller = Caller { program, flags: &global, config, environment: &environment };
    match command {
        Command::Context { command } => context::run(command, &caller)?,
        Command::Machine { command } => machine::run(command, &environment.daemon)?,
        Command::Share { command } => share::run(&command, &environment.daemon)?,
        Command::Doctor(args) => doctor::run(&args, &caller)?,
        Command::Daemon => return Ok((environment.daemon.serve)()),
        Command::Completion(args) => completion::print_script(&args, program)?,
        Command::Complete(args) => completion::complete(&args, &caller)?,
        Command::GenerateMan(args) => completion::write_manual(&args)?,
        Command::Version(args) => system::version::run(&args, &caller)?,
        Command::Logout(args) => {
            caller.with_session(async |session| registry::logout::run(&args, session).await)?;
        }
        Command::Info(args) | Command::System { command: SystemCommand::Info(args) } => {
            system::info::run(&args, &caller)?;
        }
        Command::System { command: SystemCommand::DialStdio } => {
            caller.api(async |session| system::dial_stdio::run(session).await)?;
        }
        Command::System { command: SystemCommand::Check } => {
            caller.api(async |session| system::check::run(session).await)?;
        }
        Command::System { command: SystemCommand::Df(args) } => {
            caller.api(async |session| system::df::run(args, session).await)?;
        }
        Command::System { command: SystemCommand::Events(args) } => {
            caller.api(async |session| system::events::run(args, session).await)?;
        }
        Command::System { command: SystemCommand::Prune(args) } => {
            caller.api(async |session| system::prune::run(args, session).await)?;
        }
        Command::Engine(command) => caller.api(async |session| call(*command, session).await)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Does what the engine has to do. A command has one meaning, at the top and in its group.
async fn call(command: EngineCommand, session: &Session) -> Result<(), CliError> {
    use EngineCommand as Top;

    match command {
        Top::Container { command } => in_container(command, session).await,
        Top::Image { command } => in_image(command, session).await,
        Top::Network { command } => in_network(command, session).await,
        Top::Volume { command } => in_volume(command, session).await,
        Top::Attach(args) => in_container(ContainerCommand::Attach(args), session).await,
        Top::Commit(args) => in_container(ContainerCommand::Commit(args), session).await,
        Top::Cp(args) => in_container(ContainerCommand::Cp(args), session).await,
        Top::Create(args) => in_container(ContainerCommand::Create(args), session).await,
        Top::Diff(args) => in_container(ContainerCommand::Diff(args), session).await,
        Top::Events(args) => system::events::run(args, session).await,
        Top::Exec(args) => in_container(ContainerCommand::Exec(args), session).await,
        Top::Export(args) => in_container(ContainerCommand::Export(args), session).await,
        Top::History(args) => in_image(ImageCommand::History(args), session).await,
        Top::Images(args) => in_image(ImageCommand::Ls(args), session).await,
        Top::Import(args) => in_image(ImageCommand::Import(args), session).await,
        Top::Inspect(args) => inspect::run(args, session).await,
        Top::Kill(args) => in_container(ContainerCommand::Kill(args), session).await,
        Top::Load(args) => in_image(ImageCommand::Load(args), session).await,
        Top::Login(args) => registry::login::run(args, session).await,
        Top::Logs(args) => in_container(ContainerCommand::Logs(args), session).await,
        Top::Pause(args) => in_container(ContainerCommand::Pause(args), session).await,
        Top::Port(args) => in_container(ContainerCommand::Port(args), session).await,
        Top::Ps(args) => in_container(ContainerCommand::Ls(args), session).await,
        Top::Pull(args) => in_image(ImageCommand::Pull(args), session).await,
        Top::Push(args) => in_image(ImageCommand::Push(args), session).await,
        Top::Rename(args) => in_container(ContainerCommand::Rename(args), session).await,
        Top::Restart(args) => in_container(ContainerCommand::Restart(args), session).await,
        Top::Rm(args) => in_container(ContainerCommand::Rm(args), session).await,
        Top::Rmi(args) => in_image(ImageCommand::Rm(args), session).await,
        Top::Run(args) => in_container(ContainerCommand::Run(args), session).await,
        Top::Save(args) => in_image(ImageCommand::Save(args), session).await,
        Top::Search(args) => registry::search::run(&args, session).await,
        Top::Start(args) => in_container(ContainerCommand::Start(args), session).await,
        Top::Stats(args) => in_container(ContainerCommand::Stats(args), session).await,
        Top::Stop(args) => in_container(ContainerCommand::Stop(args), session).await,
        Top::Tag(args) => in_image(ImageCommand::Tag(args), session).await,
        Top::Top(args) => in_container(ContainerCommand::Top(args), session).await,
        Top::Unpause(args) => in_container(ContainerCommand::Unpause(args), session).await,
        Top::Update(args) => in_container(ContainerCommand::Update(args), session).await,
        Top::Wait(args) => in_container(ContainerCommand::Wait(args), session).await,
    }
}

async fn in_container(command: ContainerCommand, session: &Session) -> Result<(), CliError> {
    use ContainerCommand as Container;

    match command {
        Container::Attach(args) => container::attach::run(args, session).await,
        Container::Commit(args) => container::commit::run(args, session).await,
        Container::Cp(args) => container::cp::run(args, session).await,
        Container::Create(args) => container::create::run(args, session).await,
        Container::Diff(args) => container::diff::run(args, session).await,
        Container::Exec(args) => container::exec::run(args, session).await,
        Container::Export(args) => container::export::run(args, session).await,
        Container::Inspect(args) => inspect::containers(args, session).await,
        Container::Kill(args) => container::stop::kill(args, session).await,
        Container::Logs(args) => container::logs::run(args, session).await,
        Container::Ls(args) => container::ps::run(args, session).await,
        Container::Pause(args) => container::pause::pause(args, session).await,
        Container::Port(args) => container::port::run(args, session).await,
        Container::Prune(args) => container::prune::run(args, session).await,
        Container::Rename(args) => container::rename::run(args, session).await,
        Container::Restart(args) => container::stop::restart(args, session).await,
        Container::Rm(args) => container::rm::run(args, session).await,
        Container::Run(args) => container::run::run(args, session).await,
        Container::Start(args) => container::start::run(args, session).await,
        Container::Stats(args) => container::stats::run(args, session).await,
        Container::Stop(args) => container::stop::stop(args, session).await,
        Container::Top(args) => container::top::run(args, session).await,
        Container::Unpause(args) => container::pause::unpause(args, session).await,
        Container::Update(args) => container::update::run(args, session).await,
        Container::Wait(args) => container::wait::run(args, session).await,
    }
}

async fn in_image(command: ImageCommand, session: &Session) -> Result<(), CliError> {
    use ImageCommand as Image;

    match command {
        Image::History(args) => image::history::run(args, session).await,
        Image::Import(args) => image::import::run(args, session).await,
        Image::Inspect(args) => inspect::images(args, session).await,
        Image::Load(args) => image::load::run(args, session).await,
        Image::Ls(args) => image::images::run(args, session).await,
        Image::Prune(args) => image::prune::run(args, session).await,
        Image::Pull(args) => image::pull::run(args, session).await,
        Image::Push(args) => image::push::run(args, session).await,
        Image::Rm(args) => image::rmi::run(args, session).await,
        Image::Save(args) => image::save::run(args, session).await,
        Image::Tag(args) => image::tag::run(args, session).await,
    }
}

async fn in_network(command: NetworkCommand, session: &Session) -> Result<(), CliError> {
    match command {
        NetworkCommand::Connect(args) => network::connect::run(args, session).await,
        NetworkCommand::Create(args) => network::create::run(args, session).await,
        NetworkCommand::Disconnect(args) => network::disconnect::run(args, session).await,
        NetworkCommand::Inspect(args) => inspect::networks(args, session).await,
        NetworkCommand::Ls(args) => network::ls::run(args, session).await,
        NetworkCommand::Prune(args) => network::prune::run(args, session).await,
        NetworkCommand::Rm(args) => network::rm::run(args, session).await,
    }
}

async fn in_volume(command: VolumeCommand, session: &Session) -> Result<(), CliError> {
    match command {
        VolumeCommand::Create(args) => volume::create::run(args, session).await,
        VolumeCommand::Inspect(args) => inspect::volumes(args, session).await,
        VolumeCommand::Ls(args) => volume::ls::run(args, session).await,
        VolumeCommand::Prune(args) => volume::prune::run(args, session).await,
        VolumeCommand::Rm(args) => volume::rm::run(args, session).await,
    }
}

/// Who gave the command, and where it goes.
pub(crate) struct Caller<'a> {
    /// The name the user called.
    pub(crate) program: Program,
    /// The flags before the command.
    pub(crate) flags: &'a GlobalFlags,
    /// Where Docker's settings and contexts are.
    pub(crate) config: ConfigFolder,
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
        let settings = self.config.settings();
        let client = Client::new(self.endpoint()?, self.program, version)
            .with(settings.http_headers.clone(), self.flags.debugs());
        let credentials = Credentials::new(&self.config, &variables);
        let session = Session { client, program: self.program, variables, settings, credentials };
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

    fn choice(&self) -> Choice<'_> {
        Choice {
            flags: self.flags,
            variables: &self.environment.variables,
            home: &self.environment.home,
            program: self.program,
            config: &self.config,
        }
    }

    fn endpoint(&self) -> Result<Endpoint, CliError> {
        self.choice().endpoint()
    }

    /// The name of the context that is in effect.
    pub(crate) fn context(&self) -> String {
        self.choice().context()
    }

    /// The context that is no file.
    pub(crate) fn default_context(&self) -> Result<Context, CliError> {
        self.choice().default_context()
    }

    /// The variable that counts for more than the current context, if there is one.
    pub(crate) fn overriding_variable(&self) -> Option<&'static str> {
        self.choice().overriding_variable()
    }

    /// What to say to somebody who chooses a context for programs other than this one.
    pub(crate) fn keeps_to_itself(&self) -> Option<&'static str> {
        (self.program == Program::Holm).then_some(
            "docker and Compose follow it; holm keeps to its own machine unless --context or DOCKER_CONTEXT says otherwise",
        )
    }
}
