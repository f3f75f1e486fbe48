//! The logins that Docker's command line keeps, and ours with them: in `config.json`, with a helper program that
//! `credsStore` or `credHelpers` name, or in the variable `DOCKER_AUTH_CONFIG`, which goes before both.

mod helper;
mod login;

use std::collections::{BTreeMap, BTreeSet};
use std::env::consts::EXE_SUFFIX;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::config::ConfigFolder;
use super::error::CliError;
use super::session;
use crate::os;

use helper::Helper;
pub(crate) use helper::HelperError;
pub(crate) use login::Login;

/// Under which name Docker Hub's login is kept.
pub(crate) const HUB: &str = "https://index.docker.io/v1/";
/// The variable that goes before all.
pub(crate) const VARIABLE: &str = "DOCKER_AUTH_CONFIG";

/// Where logins are.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    config: ConfigFolder,
    /// `PATH`, and [`VARIABLE`] where it is set.
    variables: BTreeMap<String, String>,
}

/// Where one registry's login is kept.
enum Place {
    File,
    Helper(Helper),
}

impl Credentials {
    /// Those in this folder, with these variables.
    pub(crate) fn new(config: &ConfigFolder, variables: &BTreeMap<String, String>) -> Self {
        Self { config: config.clone(), variables: variables.clone() }
    }

    /// The login that images of this registry are pulled and pushed with; an empty one where there is none.
    pub(crate) async fn of_registry(&self, registry: &str) -> Result<Login, CliError> {
        let server = if matches!(registry, "docker.io" | "index.docker.io") { HUB } else { registry };
        self.get(server).await
    }

    /// The login that is kept for a server.
    pub(crate) async fn get(&self, server: &str) -> Result<Login, CliError> {
        if let Some(login) = self.given(server) {
            return Ok(login);
        }
        // A file that makes no sense was complained of when the settings were read.
        let settings = self.config.read().unwrap_or_default();
        match self.place(&settings, server) {
            Place::File => Ok(in_file(&settings, server)),
            Place::Helper(helper) => Ok(helper.get(server).await.map_err(said)?),
        }
    }

    /// All logins that there are, as `config.json` keeps them: those of [`VARIABLE`] alone where it has any.
    pub(crate) async fn all(&self) -> Result<Map<String, Value>, CliError> {
        let mut servers: BTreeSet<String> = BTreeSet::new();
        if let Some(text) = self.variables.get(VARIABLE).filter(|text| !text.is_empty()) {
            let given = parse_variable(text).map_err(|why| {
                CliError::said(format!("failed to read credentials from {VARIABLE}: {why}"))
            })?;
            servers.extend(given.into_keys());
        }
        if servers.is_empty() {
            let settings = self.config.read().unwrap_or_default();
            for table in ["auths", "credHelpers"] {
                let named = settings.get(table).and_then(Value::as_object);
                servers.extend(named.into_iter().flat_map(|named| named.keys().cloned()));
            }
        }
        let mut all = Map::new();
        for server in servers {
            let login = self.get(&server).await?;
            if login != Login::default() {
                all.insert(server, login.to_entry(None));
            }
        }
        Ok(all)
    }

    /// Keeps a login. Warns where that is in the open.
    pub(crate) async fn store(&self, login: &Login) -> Result<(), CliError> {
        let mut settings = self.config.read()?;
        let server = login.server.as_str();
        let entry = |login: &Login, settings: &Map<String, Value>| {
            login.to_entry(settings.get("auths").and_then(|auths| auths.get(server)))
        };
        let is_open = match self.place(&settings, server) {
            Place::File => {
                let entry = entry(login, &settings);
                auths(&mut settings).insert(server.to_owned(), entry);
                !login.password.is_empty()
            }
            Place::Helper(helper) => {
                helper.store(login).await.map_err(said)?;
                if let Some(found) = self.found_store(&settings) {
                    settings.insert("credsStore".to_owned(), found.into());
                }
                // That there is one, and whatever else is kept with it.
                let entry = entry(&Login::default(), &settings);
                auths(&mut settings).insert(server.to_owned(), entry);
                false
            }
        };
        if settings != self.config.read()? {
            self.config.write(&settings)?;
            if is_open {
                session::warn(&format!(
                    "\nWARNING! Your credentials are stored unencrypted in '{}'.\nConfigure a credential \
                     helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n",
                    self.config.join("config.json").display()
                ));
            }
        }
        Ok(())
    }

    /// Forgets a login; one that is not there is no error.
    pub(crate) async fn erase(&self, server: &str) -> Result<(), CliError> {
        let mut settings = self.config.read()?;
        if let Place::Helper(helper) = self.place(&settings, server) {
            helper.erase(server).await.map_err(said)?;
        }
        match auths(&mut settings).shift_remove(server) {
            Some(_) => self.config.write(&settings),
            None => Ok(()),
        }
    }

    /// Whether [`VARIABLE`] is set.
    pub(crate) fn is_given(&self) -> bool {
        self.variables.get(VARIABLE).is_some_and(|text| !text.is_empty())
    }

    /// The login in [`VARIABLE`].
    fn given(&self, server: &str) -> Option<Login> {
        let text = self.variables.get(VARIABLE).filter(|text| !text.is_empty())?;
        match parse_variable(text) {
            Ok(mut logins) => logins.remove(server),
            Err(error) => {
                session::warn(&format!("Failed to create credential store from {VARIABLE}:  {error}"));
                None
            }
        }
    }

    fn place(&self, settings: &Map<String, Value>, server: &str) -> Place {
        let named = settings.get("credHelpers").and_then(|helpers| helpers.get(server)?.as_str());
        let named = named.or_else(|| settings.get("credsStore")?.as_str()).filter(|name| !name.is_empty());
        match named.or_else(|| self.found_store(settings)) {
            Some(name) => Place::Helper(Helper::new(name)),
            None => Place::File,
        }
    }

    /// The system's own store, where nothing was chosen yet and its helper is installed.
    fn found_store(&self, settings: &Map<String, Value>) -> Option<&'static str> {
        let is_empty = |name: &str| match settings.get(name) {
            Some(Value::Object(entries)) => entries.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            other => other.is_none(),
        };
        if !["auths", "credsStore", "credHelpers"].into_iter().all(is_empty) {
            return None;
        }
        let usual =
            os::CREDENTIAL_STORES.iter().find(|(_, with)| with.is_none_or(|with| self.is_program(with)));
        usual.map(|(name, _)| *name).filter(|name| self.is_program(&format!("docker-credential-{name}")))
    }

    fn is_program(&self, name: &str) -> bool {
        let path = self.variables.get("PATH").map(String::as_str).unwrap_or_default();
        std::env::split_paths(path).any(|folder| folder.join(format!("{name}{EXE_SUFFIX}")).is_file())
    }
}

fn said(error: HelperError) -> CliError {
    CliError::said(error.to_string())
}

/// The table of logins, made where there is none.
fn auths(settings: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let auths = settings.entry("auths").or_insert_with(|| json!({}));
    if !auths.is_object() {
        *auths = json!({});
    }
    match auths {
        Value::Object(auths) => auths,
        _ => unreachable!("it was made one above"),
    }
}

/// The login in the file: under its name, or under a URL of an older Docker's with the same host.
fn in_file(settings: &Map<String, Value>, server: &str) -> Login {
    let Some(auths) = settings.get("auths").and_then(Value::as_object) else { return Login::default() };
    let entry = auths.get_key_value(server).or_else(|| auths.iter().find(|(name, _)| host(name) == server));
    entry.and_then(|(name, entry)| Login::from_entry(name, entry)).unwrap_or_default()
}

/// The host of a URL, or of what is none.
pub(crate) fn host(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Reads [`VARIABLE`], which is held to one form so that mistakes show.
fn parse_variable(text: &str) -> Result<BTreeMap<String, Login>, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Given {
        #[serde(default)]
        auths: BTreeMap<String, Entry>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        #[serde(default)]
        auth: String,
    }
    // Its words would quote the secret.
    let given: Given = serde_json::from_str(text).map_err(|_| "it is no JSON of the form {\"auths\":{}}")?;
    let mut logins = BTreeMap::new();
    for (server, entry) in given.auths {
        if entry.auth.is_empty() {
            return Err(format!("{VARIABLE} environment variable is missing key `auth` for {server}"));
        }
        let (username, password) = login::decoded(&entry.auth).ok_or("Invalid auth configuration file")?;
        logins.insert(server.clone(), Login { server, username, password, ..Login::default() });
    }
    Ok(logins)
}

#[cfg(test)]
mod tests;
