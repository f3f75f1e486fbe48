//! What the engine and `holmd files` say to each other: one [`Plan`] on its standard input, one [`Reply`] on its
//! standard output, both framed as a shim's messages. A tar follows the plan of a [`Job::Put`] and the reply of a
//! [`Job::Get`], [`Job::Export`] or [`Job::Layer`]; a JSON list follows that of [`Job::Changes`]. What breaks off
//! after the reply is told by the exit code.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::shim::protocol::{Overlay, Source};

/// A container's files, and what to do with them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Its root.
    pub(crate) root: Overlay,
    /// Its shim, while it runs: that has the root mounted already, and a second mount of the same upper folder
    /// would be undefined.
    pub(crate) shim: Option<i32>,
    /// Its volumes and folders of the computer's.
    pub(crate) sources: Vec<Source>,
    /// Which of these nothing is written to, by destination.
    pub(crate) read_only: Vec<PathBuf>,
    /// Whether nothing is written to the root.
    pub(crate) read_only_root: bool,
    /// What to do.
    pub(crate) job: Job,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Tell what is at a path: [`Reply::Found`].
    Stat(String),
    /// The same, then a tar of it.
    Get(String),
    /// Unpack a tar into a folder.
    Put {
        /// The folder.
        path: String,
        /// A folder may become a file, and the other way round.
        replaces: bool,
        /// Who owns what is unpacked, as the client wrote it; `None` for the tar's own.
        owner: Option<String>,
    },
    /// A tar of the whole root, volumes aside.
    Export,
    /// What the container changed over its image.
    Changes,
    /// The same as a layer's tar (OCI image-spec).
    Layer,
    /// Copy what the image has at these places into the volumes there, where those are empty.
    Populate(Vec<Emptiness>),
}

/// A volume that may be empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Emptiness {
    /// Where it will be in the container.
    pub(crate) destination: PathBuf,
    /// The volume's data.
    pub(crate) volume: PathBuf,
    /// A folder in it; empty for all of it.
    pub(crate) subpath: PathBuf,
}

/// How it went, or how it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// This is what is there.
    Found(PathStat),
    /// Done, or beginning.
    Done,
    /// Not done.
    Failed {
        /// What the client would do differently.
        kind: FailureKind,
        /// In moby's words, as far as it has any.
        message: String,
    },
}

/// Decides the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    /// There is nothing at the path.
    NotFound,
    /// The request cannot be.
    Invalid,
    /// Anything else.
    Other,
}

/// What is at a path, as `X-Docker-Container-Path-Stat` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PathStat {
    /// The last part of the path.
    pub(crate) name: String,
    /// Bytes.
    pub(crate) size: i64,
    /// Permissions and type in Go's bits (`os.FileMode`).
    pub(crate) mode: u32,
    /// RFC 3339.
    pub(crate) mtime: String,
    /// Where a link leads to in the end, in the container.
    #[serde(rename = "linkTarget")]
    pub(crate) link_target: String,
}
