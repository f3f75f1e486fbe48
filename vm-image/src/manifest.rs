//! `manifest.json`: what an image is made of, and the one digest that names it.

use anyhow::Result;
use serde::Serialize;

use crate::digest;
use crate::kernel::Facts;
use crate::output::Part;

/// The whole file.
#[derive(Serialize)]
pub(crate) struct Manifest {
    /// Version of the programs the image was built with.
    pub(crate) version: &'static str,
    /// Names the image: the digest of its parts' digests, in their order here, a line each.
    pub(crate) digest: String,
    /// Processor, in the words of the image specification.
    pub(crate) architecture: &'static str,
    /// Where the kernel came from.
    pub(crate) kernel: Facts,
    /// The program inside the initramfs.
    pub(crate) holmd: Program,
    /// The files.
    pub(crate) parts: Parts,
}

/// A program inside a part.
#[derive(Serialize)]
pub(crate) struct Program {
    /// As `holmd --version` tells it.
    pub(crate) version: &'static str,
    /// Of the program file.
    pub(crate) digest: String,
}

/// The files beside the manifest.
#[derive(Serialize)]
pub(crate) struct Parts {
    /// The kernel, an ELF file with a PVH entry.
    pub(crate) vmlinux: Part,
    /// A newc archive, not compressed.
    pub(crate) initramfs: Part,
    /// The empty data disk, an ext4 file system as zstd.
    pub(crate) data: Part,
}

impl Manifest {
    /// Derives the image's own digest from its parts'.
    pub(crate) fn new(kernel: Facts, holmd: String, parts: Parts) -> Manifest {
        let named = [&parts.vmlinux, &parts.initramfs, &parts.data].map(|part| format!("{}\n", part.digest));
        Manifest {
            version: env!("CARGO_PKG_VERSION"),
            digest: digest::of(named.concat().as_bytes()),
            architecture: "amd64",
            kernel,
            holmd: Program { version: env!("CARGO_PKG_VERSION"), digest: holmd },
            parts,
        }
    }

    /// The file's text.
    pub(crate) fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }
}
