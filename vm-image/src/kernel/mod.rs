//! The guest kernel: Debian's kernel source with our own configuration, as the ELF file that QEMU's microvm and
//! our own machine monitor enter at its PVH note.

mod build;
mod config;
mod source;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache::{Cache, remove_all};
use crate::command;
use crate::digest;
use config::Fragment;
use source::Source;

/// Raised when a change of this program makes another kernel from the same inputs.
const RECIPE: u32 = 1;

/// A built kernel.
pub(crate) struct Kernel {
    /// The stripped ELF file.
    pub(crate) vmlinux: Vec<u8>,
    /// Where it came from.
    pub(crate) facts: Facts,
}

/// What the manifest tells of a kernel: with these, the same bytes can be built again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// As `uname -r` prints it.
    pub(crate) release: String,
    /// Debian package of the source.
    pub(crate) source_package: String,
    /// Version of that package.
    pub(crate) source_version: String,
    /// Digest of the source archive.
    pub(crate) source_digest: String,
    /// Digest of the options we ask for, in order, without comments.
    pub(crate) config_digest: String,
    /// First line of `gcc --version`.
    pub(crate) compiler: String,
    /// First line of `ld --version`.
    pub(crate) linker: String,
}

impl Kernel {
    /// Takes the kernel from the cache; builds it into the cache first if it is not there.
    pub(crate) fn cached(cache: &Cache) -> Result<Kernel> {
        let (source, fragment, facts) = inputs()?;
        let name = format!("kernel-{}", &key(&facts)?[..32]);
        let entry = cache.entry(&name, |entry| {
            eprintln!("building the guest kernel from {} {}: some minutes", source.package, source.version);
            let work = cache.scratch("kernel-source")?;
            let built = build::build(&source, &fragment, &work)?;
            fs::write(entry.join("vmlinux"), &built.vmlinux)?;
            fs::write(entry.join("release"), &built.release)?;
            remove_all(&work)
        })?;
        Kernel::read(&entry, facts).with_context(|| format!("cannot read {}", entry.display()))
    }

    /// Builds a kernel beside the cache and forgets it there.
    pub(crate) fn built_anew(cache: &Cache) -> Result<Kernel> {
        let (source, fragment, facts) = inputs()?;
        // Of another length than the name above: a path that slips into the kernel shows.
        let work = cache.scratch("kernel-source-once-more")?;
        let built = build::build(&source, &fragment, &work)?;
        remove_all(&work)?;
        Ok(Kernel { vmlinux: built.vmlinux, facts: Facts { release: built.release, ..facts } })
    }

    fn read(entry: &Path, facts: Facts) -> Result<Kernel> {
        let release = fs::read_to_string(entry.join("release"))?;
        Ok(Kernel { vmlinux: fs::read(entry.join("vmlinux"))?, facts: Facts { release, ..facts } })
    }
}

/// Everything that decides about the kernel's bytes. The release is empty: only a build tells it.
fn inputs() -> Result<(Source, Fragment, Facts)> {
    let source = Source::installed()?;
    let fragment = Fragment::of_this_processor();
    let facts = Facts {
        release: String::new(),
        source_package: source.package.clone(),
        source_version: source.version.clone(),
        source_digest: digest::of_file(&source.archive)?,
        config_digest: fragment.digest(),
        compiler: command::version("gcc")?,
        linker: command::version("ld")?,
    };
    Ok((source, fragment, facts))
}

/// The cache's name for what these inputs give, hex digits.
fn key(facts: &Facts) -> Result<String> {
    let text = serde_json::to_vec(&(RECIPE, facts))?;
    Ok(digest::of(&text).trim_start_matches("sha256:").to_owned())
}
