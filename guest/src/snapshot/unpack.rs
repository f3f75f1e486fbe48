//! Unpacks one layer (OCI image-spec, "Image Layer Filesystem Changeset") into an empty directory, as overlayfs
//! wants it: what a layer removes becomes a character device 0/0, what it hides an opaque directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{FileType, XattrFlags};
use rustix::io::Errno;

use super::tree::{Inside, Ownership, Place, Tree, timestamps};
use crate::archive::{Archive, ArchiveError, Entry, Kind, Segment};

/// More members than any image has. The list of directory times grows with them.
const MOST_ENTRIES: usize = 5_000_000;
const WHITEOUT: &[u8] = b".wh.";
/// "Whatever the layers below have in this directory, this image does not."
const OPAQUE_MARK: &[u8] = b".wh..wh..opq";
/// aufs' own files; they mean nothing elsewhere.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// How an archive that is no layer is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Names that mean "not here" in a layer mean that.
    whiteouts: bool,
    /// A folder may become a file, and the other way round.
    replaces: bool,
    /// The archive's own root says how the folder itself is to be.
    fills: bool,
    /// Whose all of it is; `None` for what the archive says.
    owner: Option<(u32, u32)>,
}

impl Rules {
    const LAYER: Self = Self { whiteouts: true, replaces: true, fills: true, owner: None };

    /// For files that are copied as they are.
    pub(crate) fn copied(replaces: bool) -> Self {
        Self { whiteouts: false, replaces, fills: false, owner: None }
    }

    /// For a folder that becomes the copy of another one.
    pub(crate) fn filling() -> Self {
        Self { whiteouts: false, ..Self::LAYER }
    }

    /// The same, with all of it owned by one user.
    pub(crate) fn owned_by(self, uid: u32, gid: u32) -> Self {
        Self { owner: Some((uid, gid)), ..self }
    }
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The stream is no archive, or broke off.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A member wants to be outside of the layer.
    #[error("{:?} is outside of the layer", String::from_utf8_lossy(.0))]
    Outside(Vec<u8>),
    /// A hard link to something outside of the layer.
    #[error("invalid hardlink {:?} -> {:?}", String::from_utf8_lossy(.path), String::from_utf8_lossy(.target))]
    LinkOutside {
        /// The link.
        path: Vec<u8>,
        /// What it wants to name.
        target: Vec<u8>,
    },
    /// A whiteout that hides nothing that could have a name.
    #[error("{:?} is no whiteout", String::from_utf8_lossy(.0))]
    Whiteout(Vec<u8>),
    /// A folder in a file's place, which the client does not want to lose.
    #[error("cannot overwrite directory {:?} with non-directory", String::from_utf8_lossy(.0))]
    FolderInPlace(Vec<u8>),
    /// The other way round.
    #[error("cannot overwrite non-directory {:?} with directory", String::from_utf8_lossy(.0))]
    FileInPlace(Vec<u8>),
    /// More members than are taken.
    #[error("the layer has more than {MOST_ENTRIES} files")]
    TooMany,
    /// The layer's folder cannot be made, or cannot get its name.
    #[error(transparent)]
    Folder(#[from] io::Error),
    /// The disk refuses it.
    #[error("{:?}: {cause}", String::from_utf8_lossy(.path))]
    Write {
        /// Which member.
        path: Vec<u8>,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Archive(ArchiveError::Read(cause)) | UnpackError::Folder(cause) => cause,
            UnpackError::Write { ref cause, .. } => Self::new(cause.kind(), error),
            UnpackError::Archive(ArchiveError::Truncated) => Self::new(io::ErrorKind::UnexpectedEof, error),
            _ => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Unpacks `tar` into the empty directory `root`, reads the stream to its end, and returns the bytes that the
/// files have. After an error, `root` holds whatever came before it.
pub(super) fn unpack(root: &Path, tar: &mut dyn Read) -> Result<u64, UnpackError> {
    unpack_by(root, Path::new("/"), Rules::LAYER, tar)
}

/// Unpacks `tar` into the folder `place` of the tree `root`, which nothing in the archive leaves; links in the tree
/// mean what they mean there.
pub(crate) fn unpack_into(
    root: &Path,
    place: &Path,
    rules: Rules,
    tar: &mut dyn Read,
) -> Result<(), UnpackError> {
    unpack_by(root, place, rules, tar).map(drop)
}

fn unpack_by(root: &Path, place: &Path, rules: Rules, tar: &mut dyn Read) -> Result<u64, UnpackError> {
    let tree = Tree::open(root)?;
    let place = Inside::clean(place.as_os_str().as_bytes()).unwrap_or_else(|_| Inside::root());
    let mut archive = Archive::new(tar);
    let mut unpacking = Unpacking { tree, place, rules, times: HashMap::new(), size: 0, warned: false };
    let mut entries = 0;
    while let Some(entry) = archive.next()? {
        entries += 1;
        if entries > MOST_ENTRIES {
            return Err(UnpackError::TooMany);
        }
        unpacking.take(&entry, &mut archive)?;
    }
    archive.finish()?;
    unpacking.set_directory_times()?;
    Ok(unpacking.size)
}

struct Unpacking {
    tree: Tree,
    /// Where in the tree.
    place: Inside,
    rules: Rules,
    /// Set last, since making something in a directory changes its time.
    times: HashMap<Inside, (i64, u32)>,
    size: u64,
    warned: bool,
}

impl Unpacking {
    fn take<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), UnpackError> {
        let inner = Inside::clean(&entry.path).map_err(|_| UnpackError::Outside(entry.path.clone()))?;
        let path = self.place.join(&inner);
        let failed = |cause| UnpackError::Write { path: entry.path.clone(), cause };
        let (_, name) = path.split();
        if self.rules.whiteouts && name == OPAQUE_MARK {
            let folder = self.tree.place(&path).map_err(failed)?.folder();
            return folder.set_xattr(OPAQUE, b"y").map_err(failed);
        }
        if self.rules.whiteouts && name.starts_with(AUFS) {
            return Ok(());
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|_| self.rules.whiteouts) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(UnpackError::Whiteout(entry.path.clone()));
            }
            return self.hide(&path.sibling(hidden), entry).map_err(failed);
        }
        if inner.is_root() {
            return match entry.kind {
                Kind::Directory if !self.rules.fills => Ok(()),
                Kind::Directory => self.take_directory(&path, entry).map_err(failed),
                _ => Err(UnpackError::Outside(entry.path.clone())),
            };
        }
        self.check_replacing(&path, entry)?;
        match &entry.kind {
            Kind::Directory => self.take_directory(&path, entry).map_err(failed),
            Kind::File { size, segments } => {
                let file = self.make(&path, Place::create_file).map_err(failed)?.1;
                self.size = self.size.saturating_add(*size);
                match segments {
                    None => copy(archive, &file, *size, entry)?,
                    Some(segments) => copy_segments(archive, &file, *size, segments, entry)?,
                }
                self.finish_file(&file, entry).map_err(failed)
            }
            Kind::HardLink(target) => {
                let outside =
                    || UnpackError::LinkOutside { path: entry.path.clone(), target: target.clone() };
                let target = Inside::clean(target).map_err(|_| outside())?;
                if target.is_root() {
                    return Err(outside());
                }
                let target = self.place.join(&target);
                let target = self.tree.find(&target).map_err(failed)?;
                // Owner, mode and time are those of the file, and came with it.
                self.make(&path, |place| place.create_link(&target)).map_err(failed).map(drop)
            }
            Kind::Symlink(text) => {
                let place = self.make(&path, |place| place.create_symlink(text)).map_err(failed)?.0;
                place.own_link(self.ownership(entry)).map_err(failed)?;
                self.finish(&place, entry).map_err(failed)
            }
            Kind::Character { major, minor } => {
                self.take_node(&path, entry, FileType::CharacterDevice, (*major, *minor)).map_err(failed)
            }
            Kind::Block { major, minor } => {
                self.take_node(&path, entry, FileType::BlockDevice, (*major, *minor)).map_err(failed)
            }
            Kind::Fifo => self.take_node(&path, entry, FileType::Fifo, (0, 0)).map_err(failed),
        }
    }

    /// Whether what is there may be replaced, in moby's words.
    fn check_replacing(&mut self, path: &Inside, entry: &Entry) -> Result<(), UnpackError> {
        if self.rules.replaces {
            return Ok(());
        }
        let failed = |cause| UnpackError::Write { path: entry.path.clone(), cause };
        let there = self.tree.place(path).and_then(|place| place.kind()).map_err(failed)?;
        let is_folder = entry.kind == Kind::Directory;
        match there {
            Some(FileType::Directory) if !is_folder => Err(UnpackError::FolderInPlace(path.shown())),
            Some(kind) if kind != FileType::Directory && is_folder => {
                Err(UnpackError::FileInPlace(path.shown()))
            }
            _ => Ok(()),
        }
    }

    fn ownership(&self, entry: &Entry) -> Ownership {
        let (uid, gid) = self.rules.owner.unwrap_or((entry.uid, entry.gid));
        Ownership { uid, gid, mode: entry.mode }
    }

    /// Makes something at `path`, in place of what is there.
    fn make<T>(&mut self, path: &Inside, create: impl Fn(&Place) -> io::Result<T>) -> io::Result<(Place, T)> {
        let place = self.tree.place(path)?;
        match create(&place) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                place.remove()?;
                self.tree.forget();
                self.times.remove(path);
                let made = create(&place)?;
                Ok((place, made))
            }
            made => made.map(|made| (place, made)),
        }
    }

    fn take_directory(&mut self, path: &Inside, entry: &Entry) -> io::Result<()> {
        let mut place = self.tree.place(path)?;
        let before = place.kind()?;
        if before != Some(FileType::Directory) {
            // The layer removes a directory and makes it anew: what lower layers have in it stays hidden.
            let hides = before.is_some() && place.is_whiteout()?;
            place = self.make(path, Place::create_directory)?.0;
            if hides {
                place.set_xattr(OPAQUE, b"y")?;
            }
        }
        place.own(self.ownership(entry))?;
        self.set_xattrs(entry, |name, value| place.set_xattr(name, value))?;
        self.times.insert(path.clone(), entry.mtime);
        Ok(())
    }

    fn take_node(
        &mut self,
        path: &Inside,
        entry: &Entry,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> io::Result<()> {
        let device = rustix::fs::makedev(major, minor);
        let place = self.make(path, |place| place.create_node(kind, device))?.0;
        place.own(self.ownership(entry))?;
        self.finish(&place, entry)
    }

    /// A whiteout: the name is not there, whatever lower layers say. What this layer itself has under the name
    /// stays, whichever of the two comes first.
    fn hide(&mut self, path: &Inside, entry: &Entry) -> io::Result<()> {
        let place = self.tree.place(path)?;
        match place.kind()? {
            None => {
                place.create_node(FileType::CharacterDevice, 0)?;
                self.finish(&place, entry)
            }
            Some(FileType::Directory) => place.set_xattr(OPAQUE, b"y"),
            Some(_) => Ok(()),
        }
    }

    fn finish_file(&mut self, file: &File, entry: &Entry) -> io::Result<()> {
        self.ownership(entry).give(file)?;
        self.set_xattrs(entry, |name, value| {
            Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
        })?;
        Ok(rustix::fs::futimens(file, &timestamps(entry.mtime))?)
    }

    fn finish(&mut self, place: &Place, entry: &Entry) -> io::Result<()> {
        self.set_xattrs(entry, |name, value| place.set_xattr(name, value))?;
        place.set_time(entry.mtime)
    }

    fn set_xattrs(&mut self, entry: &Entry, set: impl Fn(&[u8], &[u8]) -> io::Result<()>) -> io::Result<()> {
        for (name, value) in &entry.xattrs {
            // overlayfs believes these: with them, a layer could show files of another.
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                continue;
            }
            match set(name, value) {
                Err(error) if is_unsupported(&error) => {
                    if !self.warned {
                        tracing::warn!(
                            path = %String::from_utf8_lossy(&entry.path),
                            xattr = %String::from_utf8_lossy(name),
                            %error,
                            "this file system does not keep an attribute of the layer"
                        );
                    }
                    self.warned = true;
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn set_directory_times(&mut self) -> Result<(), UnpackError> {
        for (path, mtime) in std::mem::take(&mut self.times) {
            let set = self.tree.find(&path).and_then(|place| place.set_time(mtime));
            match set {
                // Replaced later, or below something that was.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                other => other?,
            }
        }
        Ok(())
    }
}

/// As Docker does: an attribute that a file system cannot keep is no reason to refuse an image.
fn is_unsupported(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(code, Some(Errno::OPNOTSUPP | Errno::PERM))
}

fn copy<R: Read>(
    archive: &mut Archive<R>,
    mut file: &File,
    mut length: u64,
    entry: &Entry,
) -> Result<(), UnpackError> {
    while length > 0 {
        let chunk = archive.chunk(length)?;
        file.write_all(chunk).map_err(|cause| UnpackError::Write { path: entry.path.clone(), cause })?;
        let taken = chunk.len();
        archive.consume(taken);
        length -= taken as u64;
    }
    Ok(())
}

fn copy_segments<R: Read>(
    archive: &mut Archive<R>,
    mut file: &File,
    size: u64,
    segments: &[Segment],
    entry: &Entry,
) -> Result<(), UnpackError> {
    let failed = |cause| UnpackError::Write { path: entry.path.clone(), cause };
    for segment in segments {
        file.seek(SeekFrom::Start(segment.offset)).map_err(failed)?;
        copy(archive, file, segment.length, entry)?;
    }
    file.set_len(size).map_err(failed)
}

#[cfg(test)]
mod tests;
