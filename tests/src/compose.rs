//! The real `docker compose` against a home's socket, and images of real servers to compose.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use crate::cache::made;
use crate::command::{Ran, run_untouched};
use crate::home::Home;
use crate::image::{Image, Layer};

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
