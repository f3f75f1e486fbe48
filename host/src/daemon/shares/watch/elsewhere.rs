//! Systems whose watches are not written yet. No share is served there either.

use std::fs::File;
use std::io;
use std::path::Path;

use holm_api::files::{Kind, Times};
use holm_files::Descriptor;

use super::{FolderId, Seen};

/// None: nothing is watched, and what is cached is not for long.
#[derive(Debug)]
pub(crate) enum Watch {}

impl Watch {
    /// Says that there is none.
    pub(crate) fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// None can be.
    pub(crate) fn watch(&self, _: Descriptor<'_>) -> io::Result<FolderId> {
        match *self {}
    }

    /// None can be.
    pub(crate) fn watch_file(&self, _: Descriptor<'_>) -> io::Result<FolderId> {
        match *self {}
    }

    /// Nothing ever.
    pub(crate) async fn read(&self) -> io::Result<Vec<Seen>> {
        match *self {}
    }
}

/// None either.
#[derive(Debug)]
pub(crate) enum Look {}

impl Look {
    /// Says that there is none.
    pub(crate) fn at(_: &Path) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// None can be opened.
    pub(crate) fn folder(&self, _: &Path) -> io::Result<File> {
        match *self {}
    }

    /// As watches want it.
    pub(crate) fn descriptor(folder: &File) -> Descriptor<'_> {
        #[cfg(unix)]
        return std::os::fd::AsFd::as_fd(folder);
        #[cfg(windows)]
        return std::os::windows::io::AsHandle::as_handle(folder);
    }

    /// Nothing is looked at.
    pub(crate) fn at_path(&self, _: &Path) -> io::Result<(Kind, Times)> {
        match *self {}
    }
}
