//! Layers unpacked on the data disk, and the overlay that a container writes to.
//!
//! ```text
//!   <root>/sha256/<diff id>/   one layer: the tree that overlayfs takes as a lower directory
//!   <root>/tmp/                half-unpacked layers, and layers on their way out
//! ```
//!
//! A layer is named by the digest of its tar alone: what it holds does not depend on what lies under it. It gets
//! its name by a rename when it is whole; [`Layers::sync`] makes it durable.

mod usage;

pub(crate) use usage::usage;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use holm_api::Digest;

const FOLDER: &str = "sha256";
const SCRATCH: &str = "tmp";

/// The folder of unpacked layers.
#[derive(Debug)]
pub(crate) struct Layers {
    root: PathBuf,
    next_scratch: AtomicU64,
}

impl Layers {
    /// Opens the folder and removes what a crash left half-made. Blocks.
    pub(crate) fn open(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        // Layers hold setuid programs of whatever image came: on a host without a machine in between, nobody
        // but root may reach them.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&root)?;
        fs::set_permissions(&root, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
        fs::create_dir_all(root.join(FOLDER))?;
        remove_tree(&root.join(SCRATCH))?;
        fs::create_dir(root.join(SCRATCH))?;
        Ok(Self { root, next_scratch: AtomicU64::new(0) })
    }

    /// Whether the layer is there, whole.
    pub(crate) fn holds(&self, diff_id: &Digest) -> bool {
        self.path(diff_id).is_dir()
    }

    /// What overlayfs takes as lower directories, the topmost first, for layers given the lowest first.
    ///
    /// A layer that comes twice is taken once, at its upper place: the kernel refuses a directory that is named
    /// twice (ELOOP), and whatever the lower one does, the upper one does again.
    pub(crate) fn lower_dirs(&self, diff_ids: &[Digest]) -> Vec<PathBuf> {
        let mut seen = HashSet::new();
        diff_ids.iter().rev().filter(|id| seen.insert(**id)).map(|id| self.path(id)).collect()
    }

    /// Makes all layers durable. Blocks.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    /// Removes a layer; one that is not there is no error. Blocks.
    pub(crate) fn remove(&self, diff_id: &Digest) -> io::Result<()> {
        let going = self.scratch();
        // Out of sight first, so that no half-removed layer is ever taken for a whole one.
        match fs::rename(self.path(diff_id), &going) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => remove_tree(&going),
        }
    }

    /// All layers that are there. Blocks.
    pub(crate) fn list(&self) -> io::Result<Vec<Digest>> {
        let mut layers = Vec::new();
        for entry in fs::read_dir(self.root.join(FOLDER))? {
            let name = entry?.file_name();
            layers.extend(name.to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok()));
        }
        Ok(layers)
    }

    fn path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join(FOLDER).join(diff_id.hex())
    }

    fn scratch(&self) -> PathBuf {
        self.root.join(SCRATCH).join(self.next_scratch.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
