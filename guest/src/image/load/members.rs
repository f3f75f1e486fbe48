//! The members of an archive, by their names: files on the disk, and links between them. No name and no link leads
//! out of the archive, and what a manifest names is found without the kernel's help.

use std::collections::HashMap;

use holm_api::Digest;

use super::LoadError;
use super::unpackers::Unpacking;
use crate::image::blobs::{Blobs, HalfBlob};
use crate::image::stream::Packing;

/// More than any archive of images has: hundreds of images with dozens of layers, three files a layer.
const MOST_MEMBERS: usize = 65_536;
/// Bytes of all names together.
const LONGEST_NAMES: usize = 8 << 20;
/// Links that are followed one after another.
const MOST_LINKS: usize = 16;

/// A file of the archive, on the disk.
pub(super) struct Staged {
    /// Gone once it is a blob.
    pub(super) half: Option<HalfBlob>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) packing: Packing,
    /// Where it looks like a layer.
    pub(super) layer: Option<Unpacking>,
}

/// What a name in the archive means.
pub(super) enum Member {
    File(Staged),
    /// To a path beside the link, or from the archive's root.
    Symlink(String),
    /// To a path from the archive's root.
    HardLink(String),
    /// Nothing that has content.
    Other(&'static str),
}

/// All of them.
#[derive(Default)]
pub(super) struct Members {
    by_path: HashMap<String, Member>,
    names: usize,
    count: usize,
}

impl Members {
    /// The clean form of a member's name, counted. `None` for one that no manifest can name.
    pub(super) fn name(&mut self, raw: &[u8]) -> Result<Option<String>, LoadError> {
        self.count += 1;
        self.names += raw.len();
        if self.count > MOST_MEMBERS || self.names > LONGEST_NAMES {
            return Err(LoadError::TooManyMembers(MOST_MEMBERS));
        }
        let Ok(text) = std::str::from_utf8(raw) else { return Ok(None) };
        clean(text).map(Some).ok_or_else(|| LoadError::Outside(text.to_owned()))
    }

    /// Adds a member. The same file may come again: some programs write a layer once for each of its uses.
    pub(super) fn add(&mut self, path: String, member: Member) -> Result<(), LoadError> {
        match (self.by_path.get(&path), &member) {
            (None, _) => {
                self.by_path.insert(path, member);
                Ok(())
            }
            (Some(Member::File(before)), Member::File(now)) if before.digest == now.digest => Ok(()),
            (Some(_), _) => Err(LoadError::Twice(path)),
        }
    }

    /// The name that a path leads to, through all links.
    fn resolve(&self, path: &str) -> Result<Option<String>, LoadError> {
        let outside = || LoadError::Outside(path.to_owned());
        let mut name = clean(path).ok_or_else(outside)?;
        for _ in 0..MOST_LINKS {
            name = match self.by_path.get(&name) {
                None => return Ok(None),
                Some(Member::HardLink(target)) => clean(target).ok_or_else(outside)?,
                Some(Member::Symlink(target)) => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    let beside =
                        if target.starts_with('/') { target.clone() } else { format!("{folder}/{target}") };
                    clean(&beside).ok_or_else(outside)?
                }
                Some(_) => return Ok(Some(name)),
            };
        }
        Err(LoadError::NoFile { path: path.to_owned(), what: "a link without end" })
    }

    /// The file at `path`, if anything is there.
    pub(super) fn find(&self, path: &str) -> Result<Option<&Staged>, LoadError> {
        let Some(name) = self.resolve(path)? else { return Ok(None) };
        match self.by_path.get(&name) {
            Some(Member::File(file)) => Ok(Some(file)),
            Some(Member::Other(what)) => Err(LoadError::NoFile { path: path.to_owned(), what }),
            _ => Ok(None),
        }
    }

    /// The file at `path`.
    pub(super) fn file(&self, path: &str) -> Result<&Staged, LoadError> {
        self.find(path)?.ok_or_else(|| LoadError::Missing(path.to_owned()))
    }

    /// Likewise, to be changed.
    pub(super) fn file_mut(&mut self, path: &str) -> Result<&mut Staged, LoadError> {
        let missing = || LoadError::Missing(path.to_owned());
        let name = self.resolve(path)?.ok_or_else(missing)?;
        match self.by_path.get_mut(&name) {
            Some(Member::File(file)) => Ok(file),
            Some(Member::Other(what)) => Err(LoadError::NoFile { path: path.to_owned(), what }),
            _ => Err(missing()),
        }
    }

    /// A small file's bytes.
    pub(super) fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, LoadError> {
        self.file(path)?.read(path, limit)
    }
}

impl Staged {
    /// All of it.
    pub(super) fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, LoadError> {
        if self.size > limit as u64 {
            return Err(LoadError::TooLong { path: path.to_owned(), size: self.size, limit });
        }
        let half = self.half.as_ref().ok_or_else(|| LoadError::Missing(path.to_owned()))?;
        std::fs::read(half.path()).map_err(LoadError::store)
    }

    /// Makes it a blob, unless it is one.
    pub(super) fn keep(&mut self, blobs: &Blobs) -> std::io::Result<()> {
        match self.half.take() {
            Some(half) if !blobs.holds(&self.digest) => blobs.keep(half, &self.digest),
            _ => Ok(()),
        }
    }
}

/// Without `.`, `..` and empty parts; `None` where it leads above the root.
fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(n: u8) -> Member {
        let digest = Digest::from_bytes([n; 32]);
        Member::File(Staged { half: None, digest, size: 1, packing: Packing::Plain, layer: None })
    }

    fn members(all: Vec<(&str, Member)>) -> Members {
        let mut members = Members::default();
        for (name, member) in all {
            let name = members.name(name.as_bytes()).unwrap().unwrap();
            members.add(name, member).unwrap();
        }
        members
    }

    #[test]
    fn links_lead_to_files_of_the_archive_and_nowhere_else() {
        let members = members(vec![
            ("./a/layer.tar", file(1)),
            ("b/layer.tar", Member::Symlink("../a/layer.tar".to_owned())),
            ("c", Member::HardLink("b/layer.tar".to_owned())),
            ("out", Member::Symlink("../../etc/shadow".to_owned())),
            ("round", Member::Symlink("round".to_owned())),
            ("device", Member::Other("a character device")),
            ("gone", Member::Symlink("nowhere".to_owned())),
        ]);
        for name in ["a/layer.tar", "/b/layer.tar", "c", "b/../c"] {
            assert_eq!(members.file(name).unwrap().digest, Digest::from_bytes([1; 32]), "{name}");
        }
        let told = |name: &str| members.file(name).err().unwrap().to_string();
        assert_eq!(told("out"), "\"out\" is outside of the archive");
        assert_eq!(told("../a"), "\"../a\" is outside of the archive");
        assert_eq!(told("round"), "\"round\" is a link without end in the archive, not a file");
        assert_eq!(told("device"), "\"device\" is a character device in the archive, not a file");
        assert_eq!(told("gone"), "open gone: no such file or directory");
    }

    #[test]
    fn a_file_that_comes_twice_is_the_same_or_refused() {
        let mut members = members(vec![("a", file(1))]);
        members.add("a".to_owned(), file(1)).unwrap();
        let told = members.add("a".to_owned(), file(2)).unwrap_err().to_string();
        assert_eq!(told, "\"a\" is twice in the archive, and not the same");
    }

    #[test]
    fn members_without_end_are_refused_and_names_that_lead_out_too() {
        let mut members = Members::default();
        let told = members.name(b"../x").unwrap_err().to_string();
        assert_eq!(told, "\"../x\" is outside of the archive");
        assert!(members.name(b"\xff").unwrap().is_none());
        let mut count = 0;
        while members.name(b"x").is_ok() {
            count += 1;
        }
        assert!(count <= MOST_MEMBERS);
    }
}
