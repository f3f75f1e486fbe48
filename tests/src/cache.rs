//! What is made once and kept in the user's cache: programs and images of others that tests and benchmarks need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::image::digest;

/// A file or folder of the cache that a script makes where it is not there yet: `$1` is where, the others are
/// `arguments`. Another script makes another one; where the arguments decide what comes out, `name` tells them.
pub fn made(script: &str, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let file = folder()?.join(format!("{name}-{}", key(script)));
    if !file.exists() {
        let mut command = Command::new("bash");
        let status = command.args(["-euc", script, "bash"]).arg(&file).args(arguments).status()?;
        ensure!(status.success() && file.exists(), "cannot make {}", file.display());
    }
    Ok(file)
}

/// Twelve digits that stand for a text in a name.
pub fn key(text: &str) -> String {
    digest(text.as_bytes())["sha256:".len()..][..12].to_owned()
}

/// Ours in the user's cache.
pub fn folder() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let folder = cache.or(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("holm");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
