//! `create`, and the half of `run` that is the same: makes a container, pulling its image if need be.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use holm_api::Reference;
use serde::Deserialize;
use serde_json::Value;

use super::api_socket;
use super::flags::{ContainerFlags, Plan, PullPolicy};
use crate::cli::client::Call;
use crate::cli::error::{CliError, DAEMON_FAILED};
use crate::cli::image::pull::{self, ProgressTo};
use crate::cli::session::{self, Session};

/// `holm create`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    flags: ContainerFlags,
    /// Pull image before creating ("always", "|missing", "never")
    #[arg(long, value_name = "string", default_value = "missing")]
    pull: String,
}

/// Creates a container and prints its id.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let launch = |cause| launch_error(session, "create", DAEMON_FAILED, cause);
    let policy = PullPolicy::parse(&args.pull).map_err(launch)?;
    let plan = args.flags.plan(&session.variables).map_err(launch)?;
    let id = create(session, &args.flags, &plan, policy).await?;
    session::print_line(&id)
}

/// The error with the program's name before it and its help after it.
pub(super) fn launch_error(session: &Session, command: &'static str, code: u8, cause: CliError) -> CliError {
    CliError::Launch { program: session.program, command, code, cause: Box::new(cause) }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

/// Creates a container and returns its id. The engine's warnings and a pull's progress go to standard error.
pub(super) async fn create(
    session: &Session,
    flags: &ContainerFlags,
    plan: &Plan,
    policy: PullPolicy,
) -> Result<String, CliError> {
    let id_file = IdFile::create(&flags.general.cidfile)?;
    let reference = named(&plan.image)?;
    if policy == PullPolicy::Always
        && let Some(reference) = &reference
    {
        pull::pull(session, reference, &flags.general.platform, progress(flags)).await?;
    }
    let mut body = with_proxies(plan.body.clone(), session);
    let logins = match flags.general.use_api_socket {
        true => Some(api_socket::plan(&mut body, session).await?),
        false => None,
    };
    let request = || {
        Call::post("/containers/create")
            .option("name", Some(&flags.general.name).filter(|name| !name.is_empty()))
            .option("platform", Some(&flags.general.platform).filter(|platform| !platform.is_empty()))
            .json(&body)
    };
    let first = async { session.client.send(request()?).await?.json::<Created>().await }.await;
    let created = match (first, &reference) {
        (Err(error), Some(reference)) if error.is_not_found() && policy == PullPolicy::Missing => {
            if !flags.general.quiet {
                session::warn(&format!("Unable to find image '{}' locally", reference.familiar()));
            }
            pull::pull(session, reference, &flags.general.platform, progress(flags)).await?;
            session.client.send(request()?).await?.json::<Created>().await?
        }
        (answer, _) => answer?,
    };
    for warning in created.warnings.unwrap_or_default() {
        session::warn(&format!("WARNING: {warning}"));
    }
    id_file.write(&created.id)?;
    if let Some(logins) = logins {
        logins.copy(&created.id, session).await?;
    }
    Ok(created.id)
}

/// The request with the proxies that are set for containers.
fn with_proxies(mut body: Value, session: &Session) -> Value {
    let env: Vec<&str> = body["Env"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let proxies = session.settings.proxy_variables(session.client.host(), &env);
    if !proxies.is_empty() {
        let all = env.into_iter().map(str::to_owned).chain(proxies).collect::<Vec<_>>();
        body["Env"] = all.into();
    }
    body
}

fn progress(flags: &ContainerFlags) -> ProgressTo {
    if flags.general.quiet { ProgressTo::Nowhere } else { ProgressTo::Stderr }
}

/// The image's name with its tag, `None` where it is an id and there is nothing to pull.
fn named(image: &str) -> Result<Option<Reference>, CliError> {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let reference: Reference =
        image.parse().map_err(|error: holm_api::ParseReferenceError| CliError::said(error.to_string()))?;
    Ok(Some(reference.or_latest()))
}

/// The file of `--cidfile`: made before the container, so that two of them cannot share it, and removed again
/// where no container came to be.
struct IdFile(Option<(PathBuf, File)>);

impl IdFile {
    fn create(path: &str) -> Result<Self, CliError> {
        if path.is_empty() {
            return Ok(Self(None));
        }
        let path = Path::new(path);
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(file) => Ok(Self(Some((path.to_owned(), file)))),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(CliError::said(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            ))),
            Err(cause) => {
                Err(CliError::Local { what: "failed to create the container ID file".to_owned(), cause })
            }
        }
    }

    fn write(mut self, id: &str) -> Result<(), CliError> {
        let Some((_, mut file)) = self.0.take() else { return Ok(()) };
        file.write_all(id.as_bytes()).map_err(|cause| CliError::Local {
            what: "failed to write the container ID to the file".to_owned(),
            cause,
        })
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.0 {
            // Empty and ours; whoever removed it before us meant the same.
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_by_its_id_is_never_pulled() {
        assert_eq!(named(&"ab".repeat(32)).unwrap(), None);
        assert_eq!(named(&format!("sha256:{}", "ab".repeat(32))).unwrap(), None);
        assert_eq!(named("alpine").unwrap().unwrap().familiar(), "alpine:latest");
        assert!(named("Alpine").unwrap_err().to_string().contains("must be lowercase"));
    }

    #[test]
    fn an_id_file_is_kept_only_with_an_id() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cid");
        let text = path.to_str().unwrap();
        drop(IdFile::create(text).unwrap());
        assert!(!path.exists());
        IdFile::create(text).unwrap().write("abc").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        let error = IdFile::create(text).err().unwrap().to_string();
        assert!(error.starts_with("container ID file found"), "{error}");
    }
}
