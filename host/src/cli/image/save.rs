//! `save`: images to an archive.

use super::archive;
use crate::cli::client::Call;
use crate::cli::container::export;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// `holm save`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string", default_value = "")]
    output: String,
    /// Save only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "string", default_value = "")]
    platform: String,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Writes the archive. A file is there only once it is whole.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let mut call = Call::get("/images/get");
    for image in &args.images {
        call = call.query("names", image);
    }
    let call = call.option("platform", archive::platform(&args.platform)?);
    export::receive(call, &args.output, "failed to save image", session).await
}
