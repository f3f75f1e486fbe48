//! `cp`: files between a container and this computer, as tar archives in either direction.
//!
//! ```text
//!   from a container   GET archive ─► unpack, or standard output as it is
//!   to a container     pack, or standard input as it is ─► PUT archive
//! ```

mod pack;
mod path;
mod progress;
mod unpack;

use std::io::{self, IsTerminal};
use std::path::Path;

use base64::Engine as _;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_util::io::SyncIoBridge;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::{CliError, system_words};
use crate::cli::session::Session;
use path::{Landing, Place, absolute, follow, landing, rename, split};
use progress::{Counter, Progress};
use unpack::Names;

/// What its help says.
pub(crate) const ABOUT: &str = "Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.";

/// `holm cp`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short, long)]
    quiet: bool,
    #[arg(required = true, value_name = "CONTAINER:SRC_PATH")]
    source: String,
    #[arg(required = true, value_name = "DEST_PATH|-")]
    destination: String,
}

/// Parts of an archive that wait to be sent.
const WAITING: usize = 4;
/// Bytes of standard input that are sent at once.
const PART: usize = 64 << 10;
/// Go's bits for the types of files (`io/fs.FileMode`).
const GO_DIRECTORY: u32 = 1 << 31;
const GO_LINK: u32 = 1 << 27;
const GO_OTHER_TYPES: u32 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;

/// What the engine says of a path in a container.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Stat {
    mode: u32,
    link_target: String,
}

impl Stat {
    fn is_directory(&self) -> bool {
        self.mode & GO_DIRECTORY != 0
    }

    fn is_link(&self) -> bool {
        self.mode & GO_LINK != 0
    }

    /// From the header that the engine answers with.
    fn read(header: Option<&str>) -> Result<Self, CliError> {
        let missing = || CliError::Transport("the daemon's answer does not say what the path is".into());
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(header.ok_or_else(missing)?)
            .map_err(|error| CliError::Transport(Box::new(error)))?;
        serde_json::from_slice(&bytes).map_err(|error| CliError::Transport(Box::new(error)))
    }
}

/// Copies in the direction that the arguments say.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    if args.source.is_empty() {
        return Err(CliError::said("source can not be empty"));
    }
    if args.destination.is_empty() {
        return Err(CliError::said("destination can not be empty"));
    }
    match (in_container(&args.source), in_container(&args.destination)) {
        (Some((container, path)), None) => from_container(&args, container, path, session).await,
        (None, Some((container, path))) => to_container(&args, container, path, session).await,
        (Some(_), Some(_)) => Err(CliError::said("copying between containers is not supported")),
        (None, None) => Err(CliError::said("must specify at least one container source")),
    }
}

/// Container and path, where the argument names a container.
fn in_container(argument: &str) -> Option<(&str, &str)> {
    if Path::new(argument).is_absolute() || argument.starts_with('/') {
        return None;
    }
    // `./file:name` is a file of this computer.
    argument.split_once(':').filter(|(container, _)| !container.is_empty() && !container.starts_with('.'))
}

async fn stat(session: &Session, container: &str, path: &str) -> Result<Stat, CliError> {
    let call = Call::head(container_path(container, "/archive")?).query("path", path);
    let reply = session.client.send(call).await?;
    let stat = Stat::read(reply.header("x-docker-container-path-stat"))?;
    reply.bytes().await?;
    Ok(stat)
}

fn local(cause: io::Error) -> CliError {
    CliError::said(system_words(&cause))
}

fn local_path(path: &str) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |cause| CliError::said(format!("lstat {path}: {}", system_words(&cause)))
}

async fn from_container(args: &Args, container: &str, path: &str, session: &Session) -> Result<(), CliError> {
    let destination = match args.destination.as_str() {
        "-" => None,
        path => {
            let path = absolute(path).map_err(local)?;
            check_output(&path)?;
            Some(path)
        }
    };
    let (mut path, mut alias) = (path.to_owned(), None);
    if args.follow_link
        && let Ok(stat) = stat(session, container, &path).await
        && stat.is_link()
    {
        (path, alias) = rename(&path, follow(&path, &stat.link_target));
    }
    let call = Call::get(container_path(container, "/archive")?).query("path", &path);
    let reply = session.client.send(call).await?;
    let stat = Stat::read(reply.header("x-docker-container-path-stat"))?;
    let mut reader = reply.reader();
    let Some(destination) = destination else {
        let mut out = tokio::io::stdout();
        tokio::io::copy(&mut reader, &mut out).await.map_err(CliError::output)?;
        return out.flush().await.map_err(CliError::output);
    };
    let source = Place { path, exists: true, is_directory: stat.is_directory(), alias };
    let target = Place::destination(&destination).map_err(local_path(&destination))?;
    let Landing { directory, name } =
        landing(&source, &target).map_err(|error| CliError::said(error.to_string()))?;
    let contents = matches!(split(&source.path).1.as_str(), "." | "/");
    let names = Names { contents, top: name.or(source.alias.filter(|_| !contents)) };
    let counter = Counter::default();
    let counted = counter.reading(reader);
    let work = tokio::task::spawn_blocking(move || {
        unpack::unpack(SyncIoBridge::new(counted), Path::new(&directory), &names)
    });
    let progress = Progress::start("Copying from container - ", args.shows(), &counter);
    let done = progress.beside(work).await;
    done.map_err(|error| CliError::Transport(Box::new(error)))?
        .map_err(|cause| CliError::Local { what: format!("cannot copy to {destination}"), cause })?;
    progress.finish(counter.total(), &destination);
    Ok(())
}

/// Complains of a destination whose folder is not there, before the engine is asked for anything.
fn check_output(path: &str) -> Result<(), CliError> {
    let (parent, _) = split(path);
    match std::fs::metadata(&parent) {
        Ok(_) => Ok(()),
        Err(_) => Err(CliError::said(format!("invalid output path: directory {parent:?} does not exist"))),
    }
}

async fn to_container(args: &Args, container: &str, path: &str, session: &Session) -> Result<(), CliError> {
    let mut target = Place { path: path.to_owned(), exists: false, is_directory: false, alias: None };
    // One that cannot be looked at may still be made, if the directory above it is there.
    if let Ok(mut found) = stat(session, container, path).await {
        if found.is_link() {
            target.path = follow(path, &found.link_target);
            found = stat(session, container, &target.path).await.unwrap_or(found);
        }
        if !found.is_link() {
            if found.mode & GO_OTHER_TYPES != 0 {
                return Err(CliError::said(format!(
                    "destination \"{container}:{path}\" must be a directory or a regular file"
                )));
            }
            (target.exists, target.is_directory) = (true, found.is_directory());
        }
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let counter = Counter::default();
    let (directory, work) = if args.source == "-" {
        if !target.is_directory {
            return Err(CliError::said(format!("destination \"{container}:{path}\" must be a directory")));
        }
        (target.path.clone(), tokio::spawn(send_input(tokio::io::stdin(), sender)))
    } else {
        let source_path = absolute(&args.source).map_err(local)?;
        let source = Place::source(&source_path, args.follow_link).map_err(local_path(&source_path))?;
        let Landing { directory, name } =
            landing(&source, &target).map_err(|error| CliError::said(error.to_string()))?;
        let name = name.unwrap_or_else(|| source.name());
        let work = tokio::task::spawn_blocking(move || pack::pack(Path::new(&source.path), &name, sender));
        (directory, work)
    };
    let call = Call::put(container_path(container, "/archive")?)
        .query("path", directory)
        .query("noOverwriteDirNonDir", "true")
        .option("copyUIDGID", args.archive.then_some("true"))
        .archive(counter.forwarding(receiver));
    let progress = Progress::start("Copying to container - ", args.shows(), &counter);
    progress.beside(session.client.send(call)).await?;
    // The engine has answered: what still comes is wanted by nobody.
    work.abort();
    progress.finish(counter.total(), &format!("{container}:{}", target.path));
    Ok(())
}

/// Sends an archive that somebody else has made.
async fn send_input(mut input: impl AsyncRead + Unpin, sender: mpsc::Sender<io::Result<bytes::Bytes>>) {
    loop {
        let mut part = bytes::BytesMut::with_capacity(PART);
        let sent = match input.read_buf(&mut part).await {
            Ok(0) => return,
            Ok(_) => sender.send(Ok(part.freeze())).await,
            Err(error) => sender.send(Err(error)).await,
        };
        if sent.is_err() {
            return;
        }
    }
}

impl Args {
    /// Whether the user is told how far it is.
    fn shows(&self) -> bool {
        !self.quiet && io::stdout().is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_named_before_a_colon_unless_the_argument_is_a_path() {
        assert_eq!(in_container("web:/etc"), Some(("web", "/etc")));
        assert_eq!(in_container("web:etc:x"), Some(("web", "etc:x")));
        for path in ["/a:b", "./a:b", "a", "-", ":x"] {
            assert_eq!(in_container(path), None, "{path}");
        }
    }

    #[test]
    fn the_engines_header_tells_what_a_path_is() {
        let header = base64::engine::general_purpose::STANDARD.encode(
            r#"{"name":"x","size":1,"mode":134218239,"mtime":"2026-01-02T03:04:05Z","linkTarget":"y"}"#,
        );
        let stat = Stat::read(Some(&header)).unwrap();
        assert!(stat.is_link() && !stat.is_directory());
        assert_eq!(stat.link_target, "y");
        assert!(Stat::read(None).is_err());
        assert!(Stat::read(Some("?")).is_err());
    }
}
