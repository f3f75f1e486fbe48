//! `rmi`, `image rm`: removes names of images, and images that have none left.

use serde::Deserialize;

use super::{archive, image_path};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::{self, Session};

/// `holm rmi`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Force removal of the image
    #[arg(short, long)]
    force: bool,
    /// Do not delete untagged parents
    #[arg(long)]
    no_prune: bool,
    /// Remove only the given platform variant. Formatted as "os[/arch[/variant]]" (e.g., "linux/amd64")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    platform: Vec<String>,
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Removed {
    deleted: String,
    untagged: String,
}

/// Removes images and prints what went. With `--force`, one that is not there is only mentioned.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let platforms = args.platform.iter().map(|text| archive::platform(text));
    let platforms = platforms.collect::<Result<Vec<_>, _>>()?;
    let mut errors = Vec::new();
    for image in &args.images {
        let call =
            Call::delete(image_path(image, "")).flag("force", args.force).flag("noprune", args.no_prune);
        let call = platforms.iter().flatten().fold(call, |call, one| call.query("platforms", one));
        match async { session.client.send(call).await?.json::<Vec<Removed>>().await }.await {
            Ok(removed) => session::print(&render(&removed))?,
            Err(error) => errors.push(error),
        }
    }
    if args.force && errors.iter().all(CliError::is_not_found) {
        errors.iter().for_each(|error| session::warn(&error.to_string()));
        return Ok(());
    }
    CliError::all(errors)
}

fn render(removed: &[Removed]) -> String {
    removed
        .iter()
        .map(|item| match item.deleted.as_str() {
            "" => format!("Untagged: {}\n", item.untagged),
            deleted => format!("Deleted: {deleted}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_untagged_and_layers_deleted() {
        let removed: Vec<Removed> =
            serde_json::from_str(r#"[{"Untagged":"alpine:3"},{"Deleted":"sha256:0f"}]"#).unwrap();
        assert_eq!(render(&removed), "Untagged: alpine:3\nDeleted: sha256:0f\n");
    }
}
