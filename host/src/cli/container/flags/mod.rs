//! The flags of `run` and `create` that say what the container shall be, and the request that they make.
//!
//! Each file holds the flags about one thing and writes its part of the request, in the form in which Docker's
//! command line sends it: with all fields, also where they are empty.

mod general;
mod health;
mod logging;
mod network;
mod resources;
mod security;
mod storage;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cli::error::CliError;

/// A part of the request.
type Part = Map<String, Value>;

/// Flags that describe a container.
#[derive(Debug, clap::Args)]
pub(crate) struct ContainerFlags {
    #[command(flatten)]
    pub(super) general: general::GeneralFlags,
    #[command(flatten)]
    resources: resources::ResourcesFlags,
    #[command(flatten)]
    security: security::SecurityFlags,
    #[command(flatten)]
    network: network::NetworkFlags,
    #[command(flatten)]
    storage: storage::StorageFlags,
    #[command(flatten)]
    logging: logging::LoggingFlags,
    #[command(flatten)]
    health: health::HealthFlags,
}

/// When an image is pulled first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PullPolicy {
    /// Even if it is there.
    Always,
    /// If it is not there.
    Missing,
    /// Not at all.
    Never,
}

impl PullPolicy {
    /// Reads `--pull`.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        match text {
            "always" => Ok(Self::Always),
            "missing" | "" => Ok(Self::Missing),
            "never" => Ok(Self::Never),
            other => Err(CliError::said(format!(
                "invalid pull option: '{other}': must be one of \"always\", \"missing\" or \"never\""
            ))),
        }
    }
}

/// What the flags make: a container as the engine wants it described.
#[derive(Debug)]
pub(crate) struct Plan {
    /// As the user typed it.
    pub(super) image: String,
    /// The request. Its image is `image`.
    pub(super) body: Value,
    /// The streams to attach to.
    pub(super) stdin: bool,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
    /// Whether `--attach` was given.
    pub(super) attaches: bool,
    pub(super) tty: bool,
    pub(super) removed: bool,
}

impl ContainerFlags {
    /// Checks the flags and fills in what they leave open. Reads the files that they name.
    pub(super) fn plan(&self, variables: &BTreeMap<String, String>) -> Result<Plan, CliError> {
        let mut config = Part::new();
        let mut host = Part::new();
        self.general.write(&mut config, &mut host, variables)?;
        self.resources.write(&mut host)?;
        self.security.write(&mut host)?;
        self.storage.write(&mut config, &mut host)?;
        let networking = self.network.write(&mut config, &mut host)?;
        self.logging.write(&mut host)?;
        self.health.write(&mut config)?;
        if self.general.removed && self.logging.restarts() {
            return Err(CliError::said("conflicting options: cannot specify both --restart and --rm"));
        }
        config.insert("HostConfig".to_owned(), host.into());
        config.insert("NetworkingConfig".to_owned(), json!({"EndpointsConfig": networking}));
        Ok(self.general.plan(config.into()))
    }
}

impl Plan {
    /// A container that is not attached to from its start.
    pub(super) fn detached(mut self) -> Self {
        (self.stdin, self.stdout, self.stderr) = (false, false, false);
        for field in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
            self.body[field] = false.into();
        }
        self
    }
}

/// Adds all fields of an object.
fn extend(part: &mut Part, fields: Value) {
    if let Value::Object(fields) = fields {
        part.extend(fields);
    }
}

/// `null` where there is nothing in it, as Go has it for a list that was never made.
fn list<T: Into<Value> + Clone>(items: &[T]) -> Value {
    if items.is_empty() { Value::Null } else { items.iter().cloned().map(Into::into).collect() }
}

/// `name=value` each, where a later one replaces an earlier.
fn pairs(texts: &[String]) -> Value {
    let pair = |text: &String| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.into())
    };
    Value::Object(texts.iter().map(pair).collect())
}

#[cfg(test)]
mod tests;
