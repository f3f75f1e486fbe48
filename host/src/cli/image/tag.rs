//! `tag`: gives an image another name.

use holm_api::Reference;

use super::image_path;
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::session::Session;

/// `holm tag`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[arg(required = true, value_name = "SOURCE_IMAGE[:TAG]")]
    source: String,
    #[arg(required = true, value_name = "TARGET_IMAGE[:TAG]")]
    target: String,
}

/// Adds the name.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let (repository, tag) = target(&args.target)?;
    let call = Call::post(image_path(&args.source, "/tag")).query("repo", repository).query("tag", tag);
    session.client.send(call).await.map(drop)
}

fn target(text: &str) -> Result<(String, String), CliError> {
    let target: Reference = text.parse().map_err(|error| {
        CliError::said(format!("Error parsing reference: {text:?} is not a valid repository/tag: {error}"))
    })?;
    if target.digest().is_some() {
        return Err(CliError::said("refusing to create a tag with a digest reference"));
    }
    let target = target.or_latest();
    Ok((target.familiar_name(), target.tag().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_repository_and_a_tag() {
        assert_eq!(target("team/app").unwrap(), ("team/app".to_owned(), "latest".to_owned()));
        assert_eq!(target("localhost:5000/a:1").unwrap(), ("localhost:5000/a".to_owned(), "1".to_owned()));
        assert_eq!(
            target("Bad").unwrap_err().to_string(),
            "Error parsing reference: \"Bad\" is not a valid repository/tag: invalid reference format: \
             repository name (library/Bad) must be lowercase"
        );
        assert!(target(&format!("a@sha256:{}", "0f".repeat(32))).is_err());
    }
}
