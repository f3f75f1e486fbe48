//! `push`: sends an image, or all of a repository's, to its registry.

use std::io::{self, IsTerminal};

use serde_json::{Value, json};

use super::image_path;
use super::pull::{ProgressTo, follow, reference};
use crate::cli::client::Call;
use crate::cli::error::CliError;
use crate::cli::output::note::{Kind, note};
use crate::cli::session::{self, Session};

/// Said where one platform is pushed.
const ONE_PLATFORM: &str =
    "Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
To push the complete multi-platform image, remove the --platform flag.
";
const PLATFORM_HELP: &str = "Push a platform-specific manifest as a single-platform image to the registry.
Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.
'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)";

/// `holm push`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Push all tags of an image to the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Skip image signing
    #[arg(long, default_value = "true", action = clap::ArgAction::SetTrue)]
    disable_content_trust: bool,
    #[arg(long, value_name = "string", default_value = "", help = PLATFORM_HELP)]
    platform: String,
    /// Suppress verbose output
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "NAME[:TAG]")]
    name: String,
}

/// Pushes.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if !args.disable_content_trust {
        return Err(CliError::said("Holm cannot sign images: content trust has to stay disabled"));
    }
    let platform = match args.platform.as_str() {
        "" => None,
        text => Some(platform(text).inspect_err(|_| session::warn(&format!("Invalid platform {text}")))?),
    };
    if platform.is_some() {
        session::print(&note(Kind::Info, ONE_PLATFORM, io::stdout().is_terminal()))?;
    }
    let reference = reference(&args.name, args.all_tags, args.quiet)?;
    if reference.digest().is_some() {
        return Err(CliError::said("cannot push a digest reference"));
    }
    let login = session.credentials.of_registry(reference.registry()).await?;
    let call = Call::post(image_path(&reference.familiar_name(), "/push"))
        .option("tag", reference.tag())
        .option("platform", platform.map(|platform| platform.to_string()))
        .login(&login);
    let progress = if args.quiet { ProgressTo::Nowhere } else { ProgressTo::Stdout };
    follow(session.client.send(call).await?.lines(), progress).await?;
    if args.quiet { session::print_line(&reference.to_string()) } else { Ok(()) }
}

/// `os[/arch[/variant]]` as the API takes it.
fn platform(text: &str) -> Result<Value, CliError> {
    let parts: Vec<&str> = text.split('/').collect();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if let Some(part) = parts.iter().find(|part| part.is_empty() || !part.bytes().all(fits)) {
        return Err(CliError::said(format!(
            "{part:?} is an invalid component of {text:?}: platform specifier component must match \"^[A-Za-z0-9_.-]+$\": invalid argument"
        )));
    }
    match parts[..] {
        [os @ ("linux" | "windows" | "darwin" | "freebsd")] => {
            Ok(json!({ "architecture": std::env::consts::ARCH, "os": os }))
        }
        [architecture] => Ok(json!({ "architecture": architecture, "os": "linux" })),
        [os, architecture] => Ok(json!({ "architecture": architecture, "os": os })),
        [os, architecture, variant] => {
            Ok(json!({ "architecture": architecture, "os": os, "variant": variant }))
        }
        _ => Err(CliError::said(format!(
            "{text:?}: unknown operating system or architecture: invalid argument"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_is_two_or_three_words() {
        let read = |text| platform(text).unwrap().to_string();
        assert_eq!(read("linux/arm64"), r#"{"architecture":"arm64","os":"linux"}"#);
        assert_eq!(read("linux/arm/v7"), r#"{"architecture":"arm","os":"linux","variant":"v7"}"#);
        assert_eq!(read("arm64"), r#"{"architecture":"arm64","os":"linux"}"#);
        for wrong in ["", "linux//v7", "a/b/c/d", "linux/arm 64"] {
            assert!(platform(wrong).is_err(), "{wrong}");
        }
    }
}
