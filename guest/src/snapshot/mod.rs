//! Layers unpacked on the data disk, and the overlay that a container writes to.
//!
//! ```text
//!   <root>/sha256/<diff id>/   one layer: the tree that overlayfs takes as a lower directory
//!   <root>/tmp/                half-unpacked layers, and layers on their way out
//! ```
//!
//! A layer is named by the digest of its tar alone: what it holds does not depend on what lies under it. It gets
//! its name by a rename when it is whole; [`Layers::sync`] makes it durable.

mod tree;
mod unpack;
mod usage;

pub(crate) use unpack::{Rules, UnpackError, unpack_into};
pub(crate) use usage::usage;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700))?;
        fs::create_dir_all(root.join(FOLDER))?;
        remove_tree(&root.join(SCRATCH))?;
        fs::create_dir(root.join(SCRATCH))?;
        Ok(Self { root, next_scratch: AtomicU64::new(0) })
    }

    /// Whether the layer is there, whole.
    pub(crate) fn holds(&self, diff_id: &Digest) -> bool {
        self.path(diff_id).is_dir()
    }

    /// Unpacks a layer and returns the bytes that its files have. Reads `tar` to its end, and then asks `diff_id` for
    /// its name: whether the bytes have that digest is for the stream to check. An error of the stream, its last read
    /// included, leaves nothing behind. Blocks.
    pub(crate) fn unpack(
        &self,
        tar: &mut dyn Read,
        diff_id: &dyn Fn() -> io::Result<Digest>,
    ) -> Result<u64, UnpackError> {
        let half = self.scratch();
        let unpacked = self.unpack_to(&half, tar).and_then(|size| {
            match fs::rename(&half, self.path(&diff_id()?)) {
                // Somebody else was faster with the same layer: one is as good as the other.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => remove_tree(&half)?,
                renamed => renamed?,
            }
            Ok(size)
        });
        if unpacked.is_err() {
            // The first error counts; a leftover goes at the next start.
            let _ = remove_tree(&half);
        }
        unpacked
    }

    fn unpack_to(&self, half: &Path, tar: &mut dyn Read) -> Result<u64, UnpackError> {
        fs::create_dir(half)?;
        // The image's root, where its archive does not name it.
        fs::set_permissions(half, fs::Permissions::from_mode(0o755))?;
        unpack::unpack(half, tar)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    fn archive(name: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b"text"[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn a_layer_is_there_when_it_is_whole_and_gone_when_it_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::open(root.path()).unwrap();
        assert_eq!(layers.unpack(&mut &archive("a")[..], &|| Ok(layer(1))).unwrap(), 4);
        assert!(layers.holds(&layer(1)));
        assert_eq!(layers.list().unwrap(), [layer(1)]);
        assert_eq!(fs::read(layers.lower_dirs(&[layer(1)])[0].join("a")).unwrap(), b"text");
        layers.sync().unwrap();
        layers.remove(&layer(1)).unwrap();
        layers.remove(&layer(1)).unwrap();
        assert!(!layers.holds(&layer(1)) && layers.list().unwrap().is_empty());
    }

    #[test]
    fn a_stream_that_fails_with_its_last_read_leaves_nothing_behind() {
        struct Failing(bool);
        impl Read for Failing {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("another digest"));
                }
                let bytes = archive("a");
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
        }
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::open(root.path()).unwrap();
        let error = layers.unpack(&mut Failing(false), &|| Ok(layer(1))).unwrap_err();
        assert_eq!(error.to_string(), "another digest");
        assert!(!layers.holds(&layer(1)));
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn two_who_unpack_the_same_layer_are_both_content() {
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::open(root.path()).unwrap();
        layers.unpack(&mut &archive("a")[..], &|| Ok(layer(1))).unwrap();
        layers.unpack(&mut &archive("a")[..], &|| Ok(layer(1))).unwrap();
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_half_made_goes_when_the_folder_is_opened() {
        let root = tempfile::tempdir().unwrap();
        Layers::open(root.path()).unwrap();
        fs::create_dir_all(root.path().join(SCRATCH).join("0/etc")).unwrap();
        Layers::open(root.path()).unwrap();
        assert_eq!(fs::read_dir(root.path().join(SCRATCH)).unwrap().count(), 0);
    }

    #[test]
    fn lower_directories_come_topmost_first_and_each_once_at_its_upper_place() {
        let root = tempfile::tempdir().unwrap();
        let layers = Layers::open(root.path()).unwrap();
        let names: Vec<_> = layers
            .lower_dirs(&[layer(1), layer(2), layer(1), layer(3)])
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap()[..2].to_owned())
            .collect();
        assert_eq!(names, ["03", "01", "02"]);
    }
}
