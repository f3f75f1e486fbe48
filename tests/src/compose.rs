//! The real `docker compose` against a home's socket, and images of real servers to compose.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ran, run_untouched};
use crate::home::Home;
use crate::image::{Image, Layer, digest};

const PLUGIN: &str = include_str!("compose/plugin.sh");
const SERVER: &str = include_str!("compose/server.sh");

/// A folder with a `compose.yaml`.
pub struct Project<'a> {
    home: &'a Home,
    folder: TempDir,
}

impl<'a> Project<'a> {
    /// Of the services that `yaml` describes. Fetches Compose where it is not there yet.
    pub fn new(home: &'a Home, yaml: &str) -> Result<Project<'a>> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("compose.yaml"), yaml)?;
        let plugins = folder.path().join("docker/cli-plugins");
        fs::create_dir_all(&plugins)?;
        symlink(made(PLUGIN, "docker-compose-2", &[])?, plugins.join("docker-compose"))?;
        Ok(Project { home, folder })
    }

    /// Where its `compose.yaml` lies.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `docker compose ARGUMENTS…` that has not been started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let file = self.path().join("compose.yaml").display().to_string();
        let global = ["compose", "--ansi", "never", "--progress", "plain", "-p", "isle", "-f", &file];
        let mut command = self.home.docker_command(&[&global, arguments].concat());
        command.env("DOCKER_CONFIG", self.path().join("docker"));
        command
    }

    /// Runs `docker compose ARGUMENTS…` to its end.
    pub fn compose(&self, arguments: &[&str]) -> Ran {
        run_untouched(&self.command(arguments))
    }
}

/// An image of Debian's package of a server with all that it needs, `/bin/sh`, and `own` on top. Nothing is
/// installed: its files are there, its scripts have not run.
pub fn server(package: &str, own: Layer, config: Value) -> Result<Image> {
    let tar = made(SERVER, &format!("server-{package}"), &[package])?;
    Image::new(vec![Layer::of_tar(fs::read(tar)?), own], config)
}

/// A file of the cache that a script makes where it is not there yet. Another script makes another file.
fn made(script: &str, name: &str, arguments: &[&str]) -> Result<PathBuf> {
    let recipe = digest(script.as_bytes());
    let file = cache()?.join(format!("{name}-{}", &recipe["sha256:".len()..][..12]));
    if !file.exists() {
        let mut command = Command::new("bash");
        let status = command.args(["-euc", script, "bash"]).arg(&file).args(arguments).status()?;
        ensure!(status.success() && file.exists(), "cannot make {}", file.display());
    }
    Ok(file)
}

fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let folder = cache.or(home).context("neither XDG_CACHE_HOME nor HOME is set")?.join("holm");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
