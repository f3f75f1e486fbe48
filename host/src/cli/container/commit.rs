//! `commit`: an image of what a container has become.

use holm_api::Reference;
use serde::Deserialize;

use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm commit`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")
    #[arg(short, long, value_name = "string", default_value = "")]
    author: String,
    /// Apply Dockerfile instruction to the created image
    #[arg(short, long, value_name = "list")]
    change: Vec<String>,
    /// Commit message
    #[arg(short, long, value_name = "string", default_value = "")]
    message: String,
    /// Pause container during commit
    #[arg(short, long, default_value = "true", action = clap::ArgAction::SetTrue)]
    pause: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Committed {
    id: String,
}

/// Makes the image and prints its id.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let (repository, tag) = match args.reference.as_deref().filter(|reference| !reference.is_empty()) {
        Some(reference) => target(reference)?,
        None => (String::new(), String::new()),
    };
    let mut call = Call::post("/commit")
        .query("container", &args.container)
        .query("repo", repository)
        .query("tag", tag)
        .query("comment", &args.message)
        .query("author", &args.author);
    for change in &args.change {
        call = call.query("changes", change);
    }
    if !args.pause {
        call = call.query("pause", "0");
    }
    let Committed { id } = session.client.send(call).await?.json().await?;
    session::print_line(&id)
}

fn target(text: &str) -> Result<(String, String), CliError> {
    let target: Reference =
        text.parse().map_err(|error: holm_api::ParseReferenceError| CliError::said(error.to_string()))?;
    if target.digest().is_some() {
        return Err(CliError::said("refusing to create a tag with a digest reference"));
    }
    let target = target.or_latest();
    Ok((target.familiar_name(), target.tag().unwrap_or_default().to_owned()))
}
