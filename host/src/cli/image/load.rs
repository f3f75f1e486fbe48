//! `load`: images from an archive.

use std::io::{self, IsTerminal};

use super::archive;
use super::pull::{ProgressTo, follow};
use crate::cli::client::Call;
use crate::cli::error::{CliError, system_words};
use crate::cli::session::Session;

/// `holm load`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Read from tar archive file, instead of STDIN
    #[arg(short, long, value_name = "string", default_value = "")]
    input: String,
    /// Load only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "")]
    platform: String,
    /// Suppress the load output
    #[arg(short, long)]
    quiet: bool,
}

/// Sends the archive and tells what came of it.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let platform = archive::platform(&args.platform)?;
    let parts = if args.input.is_empty() {
        if io::stdin().is_terminal() {
            return Err(CliError::said("requested load from stdin, but stdin is empty"));
        }
        archive::parts(io::stdin())
    } else {
        let file = std::fs::File::open(&args.input)
            .map_err(|error| CliError::said(format!("open {}: {}", args.input, system_words(&error))))?;
        archive::parts(file)
    };
    let quiet = args.quiet || !io::stdout().is_terminal();
    let call = Call::post("/images/load")
        .query("quiet", if quiet { "1" } else { "0" })
        .option("platform", platform)
        .archive(parts);
    follow(session.client.send(call).await?.lines(), ProgressTo::Stdout).await
}
