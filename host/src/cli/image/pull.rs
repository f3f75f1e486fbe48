//! `pull`, and the pull that `run` and `create` do first.

use std::io::{self, IsTerminal, Write};

use holm_api::{ParseReferenceError, Reference};

use crate::cli::client::{Call, JsonLines};
use crate::cli::error::CliError;
use crate::cli::output::progress::{Message, Progress};
use crate::cli::session::{self, Session};
use crate::os::terminal;

/// `holm pull`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Download all tagged images in the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "")]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "NAME[:TAG|@DIGEST]")]
    name: String,
}

/// Where a pull's progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgressTo {
    /// It is what the command is about.
    Stdout,
    /// It is beside what the command is about.
    Stderr,
    /// The user does not want to see it.
    Nowhere,
}

/// What a terminal has that does not say its width.
const DEFAULT_COLUMNS: u16 = 200;

/// Pulls an image and prints its full name.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let reference = reference(&args.name, args.all_tags, args.quiet)?;
    let progress = if args.quiet { ProgressTo::Nowhere } else { ProgressTo::Stdout };
    pull(session, &reference, &args.platform, progress).await?;
    session::print_line(&reference.to_string())
}

/// What is to be pulled or pushed: an image, or where all tags are meant, a repository.
pub(super) fn reference(name: &str, all_tags: bool, quiet: bool) -> Result<Reference, CliError> {
    let reference: Reference =
        name.parse().map_err(|error: ParseReferenceError| CliError::said(error.to_string()))?;
    let name_only = reference.tag().is_none() && reference.digest().is_none();
    match (all_tags, name_only) {
        (true, false) => Err(CliError::said("tag can't be used with --all-tags/-a")),
        (false, true) => {
            let reference = reference.or_latest();
            if let Some(tag) = reference.tag().filter(|_| !quiet) {
                session::print_line(&format!("Using default tag: {tag}"))?;
            }
            Ok(reference)
        }
        _ => Ok(reference),
    }
}

/// Pulls an image, or a whole repository where the reference names no tag. Returns when the engine has it.
pub(crate) async fn pull(
    session: &Session,
    reference: &Reference,
    platform: &str,
    progress: ProgressTo,
) -> Result<(), CliError> {
    let digest = reference.digest().map(|digest| digest.to_string());
    let login = session.credentials.of_registry(reference.registry()).await?;
    let call = Call::post("/images/create")
        .login(&login)
        .query("fromImage", reference.familiar_name())
        .option("tag", digest.as_deref().or(reference.tag()))
        .option("platform", Some(platform).filter(|platform| !platform.is_empty()));
    follow(session.client.send(call).await?.lines(), progress).await
}

/// Shows what a pull or a push tells, until it ends well or fails.
pub(super) async fn follow(mut messages: JsonLines, progress: ProgressTo) -> Result<(), CliError> {
    let mut screen = Screen::new(progress);
    while let Some(message) = messages.next().await? {
        let message: Message =
            serde_json::from_value(message).map_err(|error| CliError::Transport(Box::new(error)))?;
        if let Some(failure) = message.failure() {
            return Err(CliError::said(failure));
        }
        screen.show(&message)?;
    }
    Ok(())
}

/// Where progress goes.
struct Screen {
    to: ProgressTo,
    progress: Progress,
}

impl Screen {
    fn new(to: ProgressTo) -> Self {
        let terminal = match to {
            ProgressTo::Stdout => io::stdout().is_terminal(),
            ProgressTo::Stderr => io::stderr().is_terminal(),
            ProgressTo::Nowhere => false,
        };
        Self { to, progress: Progress::new(terminal) }
    }

    fn show(&mut self, message: &Message) -> Result<(), CliError> {
        let columns = terminal::size().map_or(DEFAULT_COLUMNS, |(_, columns)| columns);
        let text = self.progress.show(message, columns);
        match self.to {
            ProgressTo::Stdout => session::print(&text),
            ProgressTo::Stderr => io::stderr().lock().write_all(text.as_bytes()).map_err(CliError::output),
            ProgressTo::Nowhere => Ok(()),
        }
    }
}
