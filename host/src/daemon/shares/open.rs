//! From what a client wrote to something of this computer's that can be shared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holm_api::services::SharedKind;

use super::path::{HostKind, PathError, native};
use crate::os;

/// What becomes of a path that leads to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// A folder is made, and those above it: `-v`.
    Made,
    /// It is an error: `--mount`.
    Refused,
}

/// Why something is not shared, in Docker's words where it has some.
#[derive(Debug, thiserror::Error)]
pub(in crate::daemon) enum Refused {
    /// It is no path of this computer's.
    #[error("invalid mount config for type \"bind\": invalid mount path: '{path}': {why}")]
    Path {
        /// As the client wrote it.
        path: String,
        /// Why not.
        why: PathError,
    },
    /// Nothing is there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    Missing(String),
    /// It cannot be made.
    #[error("error while creating mount source path '{path}': mkdir {path}: {cause}")]
    Make {
        /// As the client wrote it.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// Whether something is there cannot be told.
    #[error("invalid mount config for type \"bind\": stat {path}: {cause}")]
    Look {
        /// As the client wrote it.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// A device, or a pipe.
    #[error("invalid mount config for type \"bind\": {0} is neither a folder nor a file nor a socket")]
    Kind(String),
    /// There are too many.
    #[error("too many folders of this computer are mounted already")]
    TooMany,
    /// This computer has no random numbers.
    #[error("cannot make a token: {0}")]
    Token(io::Error),
}

/// Something that can be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Where it is, links resolved.
    pub(super) path: PathBuf,
    /// What it is.
    pub(super) kind: SharedKind,
    /// What tells it from what else has the path before or after it. `None` where nothing does: a socket is looked
    /// up by its path for each connection.
    pub(super) identity: Option<(u64, u64)>,
}

/// What is at a path that a client wrote.
pub(super) fn find(kind: HostKind, text: &str, missing: Missing) -> Result<Found, Refused> {
    let path = native(kind, text).map_err(|why| Refused::Path { path: text.to_owned(), why })?;
    let path = Path::new(&path);
    let found = match fs::canonicalize(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if missing == Missing::Refused {
                return Err(Refused::Missing(text.to_owned()));
            }
            let made = fs::create_dir_all(path).and_then(|()| fs::canonicalize(path));
            made.map_err(|cause| Refused::Make { path: text.to_owned(), cause })
        }
        other => other.map_err(|cause| Refused::Look { path: text.to_owned(), cause }),
    }?;
    let looked = fs::metadata(&found).map_err(|cause| Refused::Look { path: text.to_owned(), cause })?;
    let kind = match looked.file_type() {
        kind if kind.is_dir() => SharedKind::Folder,
        kind if kind.is_file() => SharedKind::File,
        kind if is_socket(kind) => SharedKind::Socket,
        _ => return Err(Refused::Kind(text.to_owned())),
    };
    let identity = if kind == SharedKind::Socket { None } else { os::identity(&looked) };
    Ok(Found { path: found, kind, identity })
}

#[cfg(unix)]
fn is_socket(kind: fs::FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&kind)
}

/// Windows has them too, but no standard way to tell.
#[cfg(not(unix))]
fn is_socket(_: fs::FileType) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn found(path: &Path, missing: Missing) -> Result<(PathBuf, SharedKind), String> {
        let found = find(HostKind::Linux, &path.display().to_string(), missing);
        found.map(|found| (found.path, found.kind)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_missing_folder_is_made_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let refused = found(&path, Missing::Refused).unwrap_err();
        let words = "invalid mount config for type \"bind\": bind source path does not exist: ";
        assert_eq!(refused, format!("{words}{}", path.display()));
        assert_eq!(found(&path, Missing::Made), Ok((path.clone(), SharedKind::Folder)));
        assert!(path.is_dir());
        fs::write(folder.path().join("file"), "").unwrap();
        let below_a_file = folder.path().join("file/x");
        assert!(found(&below_a_file, Missing::Made).unwrap_err().contains("Not a directory"));
    }

    #[test]
    fn folders_files_and_sockets_are_told_apart_through_links() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("file"), "").unwrap();
        let _socket = UnixListener::bind(path("socket")).unwrap();
        symlink(path("socket"), path("link")).unwrap();
        assert_eq!(found(&path("file"), Missing::Refused), Ok((path("file"), SharedKind::File)));
        assert_eq!(found(&path("link"), Missing::Refused), Ok((path("socket"), SharedKind::Socket)));
        assert!(found(Path::new("/dev/null"), Missing::Made).unwrap_err().contains("neither"));
        assert!(found(Path::new("C:/x"), Missing::Made).unwrap_err().contains("Windows"));
    }
}
