//! `import`: an image of a file system in a tar.

use std::io;

use holm_api::Reference;

use super::archive;
use super::pull::{ProgressTo, follow};
use crate::cli::client::Call;
use crate::cli::error::{CliError, system_words};
use crate::cli::session::Session;

/// `holm import`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Set commit message for imported image
    #[arg(short, long, value_name = "string", default_value = "")]
    message: String,
    /// Set platform if server is multi-platform capable
    #[arg(long, value_name = "string", default_value = "")]
    platform: String,
    #[arg(required = true, value_name = "file|URL|-")]
    source: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

/// Sends the archive, or has the engine fetch it, and prints the image's id.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if let Some(text) = args.reference.as_deref().filter(|text| !text.is_empty()) {
        text.parse::<Reference>().map_err(|error| CliError::said(error.to_string()))?;
    }
    let is_url = ["http://", "https://"].iter().any(|scheme| args.source.starts_with(scheme));
    let source = if is_url { args.source.as_str() } else { "-" };
    let mut call = Call::post("/images/create")
        .query("fromSrc", source)
        .option("repo", args.reference.as_deref())
        .option("message", Some(&args.message).filter(|message| !message.is_empty()))
        .option("platform", Some(args.platform.to_lowercase()).filter(|platform| !platform.is_empty()));
    for change in &args.change {
        call = call.query("changes", change);
    }
    if args.source == "-" {
        call = call.archive(archive::parts(io::stdin()));
    } else if !is_url {
        let file = std::fs::File::open(&args.source)
            .map_err(|error| CliError::said(format!("open {}: {}", args.source, system_words(&error))))?;
        call = call.archive(archive::parts(file));
    }
    follow(session.client.send(call).await?.lines(), ProgressTo::Stdout).await
}
