//! Builds the guest image: the kernel, the initramfs with `holmd` in it, the empty data disk, and a manifest that
//! names every part by digest. The same inputs give the same bytes, so an image can be checked by building it
//! again; the kernel, which takes minutes, is kept in the user's cache and built only when its inputs changed.

mod cache;
mod command;
mod digest;
mod disk;
mod initramfs;
mod kernel;
mod manifest;
mod output;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::kernel::Kernel;
use crate::manifest::{Manifest, Parts};
use crate::output::Output;

const USAGE: &str = "usage: holm-vm-image build HOLMD FOLDER   puts the guest image into FOLDER
       holm-vm-image verify               builds the kernel anew and compares it with the cached one";

fn main() -> Result<()> {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let cache = Cache::open(&cache_folder()?)?;
    match arguments.as_slice() {
        [verb, holmd, folder] if verb.as_os_str() == "build" => build(&cache, holmd, folder),
        [verb] if verb.as_os_str() == "verify" => verify(&cache),
        _ => bail!("{USAGE}"),
    }
}

/// Makes all parts and writes those that changed.
fn build(cache: &Cache, holmd: &Path, folder: &Path) -> Result<()> {
    let kernel = Kernel::cached(cache)?;
    let program = std::fs::read(holmd).with_context(|| format!("cannot read {}", holmd.display()))?;
    let initramfs = initramfs::archive(&program);
    let disk = disk::template()?;

    let mut output = Output::open(folder)?;
    let parts = Parts {
        vmlinux: output.put("vmlinux", &kernel.vmlinux)?,
        initramfs: output.put("initramfs", &initramfs)?,
        data: output.put("data.ext4.zst", &disk)?,
    };
    let manifest = Manifest::new(kernel.facts, digest::of(&program), parts);
    // Last, so that a manifest never names a part that is not there yet.
    output.put("manifest.json", &manifest.to_json()?)?;
    println!("{}: guest image {}, {}", folder.display(), manifest.digest, output.summary());
    Ok(())
}

/// Two builds of the kernel give the same bytes, or this fails.
fn verify(cache: &Cache) -> Result<()> {
    let first = Kernel::cached(cache)?;
    let second = Kernel::built_anew(cache)?;
    let (first, second) = (digest::of(&first.vmlinux), digest::of(&second.vmlinux));
    if first != second {
        bail!("the kernel is not reproducible: {first} in the cache, {second} when built again");
    }
    println!("the kernel is reproducible: {first} twice");
    Ok(())
}

/// `$XDG_CACHE_HOME/holm`, by default `~/.cache/holm`.
fn cache_folder() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()) {
        return Ok(PathBuf::from(folder).join("holm"));
    }
    let home = env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/holm"))
}
