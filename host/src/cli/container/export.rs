//! `export`: a container's files as a tar archive.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use tokio::io::AsyncWriteExt;

use super::container_path;
use crate::cli::client::Call;
use crate::cli::error::{CliError, system_words};
use crate::cli::session::Session;

/// `holm export`
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string", default_value = "")]
    output: String,
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

/// Writes the container's files.
pub(crate) async fn run(args: Args, session: &Session) -> Result<(), CliError> {
    let call = Call::get(container_path(&args.container, "/export")?);
    receive(call, &args.output, "failed to export container", session).await
}

/// Writes the archive that `call` answers with to `output`, or to standard output where that is empty. A file is
/// there only once it is whole. `failed` begins the complaints about the file.
pub(crate) async fn receive(
    call: Call,
    output: &str,
    failed: &str,
    session: &Session,
) -> Result<(), CliError> {
    if output.is_empty() {
        if io::stdout().is_terminal() {
            return Err(CliError::said(
                "cowardly refusing to save to a terminal. Use the -o flag or redirect",
            ));
        }
        let mut reader = session.client.send(call).await?.reader();
        let mut out = tokio::io::stdout();
        tokio::io::copy(&mut reader, &mut out).await.map_err(CliError::output)?;
        return out.flush().await.map_err(CliError::output);
    }
    let path = Path::new(output);
    check_folder(path)
        .and_then(|()| check_target(path))
        .map_err(|why| CliError::said(format!("{failed}: {why}")))?;
    let mut reader = session.client.send(call).await?.reader();
    let failed = |cause| CliError::Local { what: failed.to_owned(), cause };
    let partial = Partial::create(path).map_err(failed)?;
    let mut file = tokio::fs::File::from_std(partial.file.try_clone().map_err(failed)?);
    tokio::io::copy(&mut reader, &mut file).await.map_err(failed)?;
    file.flush().await.map_err(failed)?;
    partial.finish(path).map_err(failed)
}

/// Complains of a folder that is not there before the engine is asked for anything.
fn check_folder(path: &Path) -> Result<(), String> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => return Ok(()),
    };
    match std::fs::metadata(folder) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("invalid output path: stat {}: {}", folder.display(), system_words(&error)))
        }
    }
}

/// Complains of what a finished archive would take the place of, and must not: a device, above all.
fn check_target(path: &Path) -> Result<(), String> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(format!(
                "failed to stat output path: lstat {}: {}",
                path.display(),
                system_words(&error)
            ));
        }
    };
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() {
        "to a directory"
    } else if kind.is_symlink() {
        "to a symbolic link directly"
    } else {
        crate::os::special_file(kind)
    };
    Err(format!("cannot write {what}"))
}

/// A file beside the one that is to be, gone again unless it is finished.
struct Partial {
    file: std::fs::File,
    path: PathBuf,
}

impl Partial {
    fn create(target: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(target.file_name().ok_or(io::ErrorKind::InvalidInput)?);
        name.push(format!(".{}", std::process::id()));
        let path = target.with_file_name(name);
        Ok(Self { file: crate::os::create_private_file(&path)?, path })
    }

    fn finish(mut self, target: &Path) -> io::Result<()> {
        self.file.flush()?;
        std::fs::rename(&self.path, target)?;
        self.path = PathBuf::new();
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Ours alone; what cannot be removed now cannot be removed later either.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_takes_the_place_of_a_file_and_of_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let words = |path: &Path| check_target(path).unwrap_err();
        assert_eq!(words(folder.path()), "cannot write to a directory");
        let file = folder.path().join("x.tar");
        check_target(&file).unwrap();
        std::fs::write(&file, "old").unwrap();
        check_target(&file).unwrap();
        #[cfg(unix)]
        {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(&file, &link).unwrap();
            assert_eq!(words(&link), "cannot write to a symbolic link directly");
            assert_eq!(words(Path::new("/dev/null")), "cannot write to a character device file");
        }
    }

    #[test]
    fn a_file_is_there_only_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("x.tar");
        let partial = Partial::create(&target).unwrap();
        assert!(!target.exists());
        drop(partial);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let mut partial = Partial::create(&target).unwrap();
        partial.file.write_all(b"tar").unwrap();
        partial.finish(&target).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"tar");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        assert_eq!(
            check_folder(Path::new("/nonexistent/x")).unwrap_err(),
            "invalid output path: stat /nonexistent: no such file or directory"
        );
        assert_eq!(check_folder(Path::new("x")), Ok(()));
    }
}
