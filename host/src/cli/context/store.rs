//! Docker's store of contexts: a folder each, named by the digest of the context's name.
//!
//! ```text
//!   contexts/meta/<sha256>/meta.json           name, description, the daemon's address
//!   contexts/tls/<sha256>/docker/ca.pem …      what to show and whom to trust
//! ```

use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cli::config::{ConfigFolder, write_whole};
use crate::cli::error::{CliError, system_words};

/// The name of the context that is no file: what the surroundings say.
pub(crate) const DEFAULT: &str = "default";
/// Files of a daemon's TLS material.
pub(crate) const TLS_FILES: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// The store.
pub(crate) struct Store {
    root: PathBuf,
}

/// A context as it is kept. Fields that we do not know stay.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Context {
    meta: Value,
}

impl Context {
    /// One that nobody has kept yet.
    pub(crate) fn new(name: &str, description: &str, endpoint: Value) -> Self {
        let metadata = if description.is_empty() { json!({}) } else { json!({"Description": description}) };
        Self { meta: json!({"Name": name, "Metadata": metadata, "Endpoints": {"docker": endpoint}}) }
    }

    /// What somebody else has kept; `None` where that is no description of a context.
    pub(crate) fn of_meta(meta: Value) -> Option<Self> {
        (meta["Name"].is_string() && meta["Metadata"].is_object() && meta["Endpoints"].is_object())
            .then_some(Self { meta })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.meta["Name"].as_str().unwrap_or_default()
    }

    /// What it is for.
    pub(crate) fn description(&self) -> &str {
        self.meta["Metadata"]["Description"].as_str().unwrap_or_default()
    }

    /// The daemon's address as Docker keeps it.
    pub(crate) fn endpoint(&self) -> &Value {
        &self.meta["Endpoints"]["docker"]
    }

    /// The daemon's address, `unix:///…`.
    pub(crate) fn host(&self) -> &str {
        self.endpoint()["Host"].as_str().unwrap_or_default()
    }

    /// Whether any daemon that answers there is believed.
    pub(crate) fn trusts_anybody(&self) -> bool {
        self.endpoint()["SkipTLSVerify"].as_bool().unwrap_or(false)
    }

    /// All of it.
    pub(crate) fn meta(&self) -> &Value {
        &self.meta
    }

    /// The same, under another name.
    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.meta["Name"] = name.into();
        self
    }

    /// The same, described otherwise.
    pub(crate) fn described(mut self, description: &str) -> Self {
        self.meta["Metadata"]["Description"] = description.into();
        self
    }

    /// The same, leading elsewhere.
    pub(crate) fn leading_to(mut self, endpoint: Value) -> Self {
        self.meta["Endpoints"]["docker"] = endpoint;
        self
    }
}

impl Store {
    /// The store in a folder of settings.
    pub(crate) fn of(config: &ConfigFolder) -> Self {
        Self { root: config.join("contexts") }
    }

    /// Where a context is described.
    pub(crate) fn meta_folder(&self, name: &str) -> PathBuf {
        self.root.join("meta").join(digest(name))
    }

    /// Where a context's TLS material is.
    pub(crate) fn tls_folder(&self, name: &str) -> PathBuf {
        self.root.join("tls").join(digest(name))
    }

    /// One context.
    pub(crate) fn read(&self, name: &str) -> Result<Context, CliError> {
        let path = self.meta_folder(name).join("meta.json");
        let text = fs::read_to_string(&path).map_err(|error| {
            let why = system_words(&error);
            let missing = if error.kind() == io::ErrorKind::NotFound { "context not found: " } else { "" };
            CliError::said(format!("context {name:?}: {missing}open {}: {why}", path.display()))
        })?;
        let meta = serde_json::from_str(&text).map_err(|error| {
            CliError::said(format!("context {name:?}: parsing {}: {error}", path.display()))
        })?;
        Ok(Context { meta })
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.meta_folder(name).join("meta.json").exists()
    }

    /// All contexts that can be read.
    pub(crate) fn list(&self) -> Vec<Context> {
        let folders = fs::read_dir(self.root.join("meta")).into_iter().flatten().flatten();
        folders
            .filter_map(|folder| fs::read_to_string(folder.path().join("meta.json")).ok())
            .filter_map(|text| Some(Context { meta: serde_json::from_str(&text).ok()? }))
            .collect()
    }

    /// Keeps a context, in the place of one of the same name.
    pub(crate) fn write(&self, context: &Context) -> Result<(), CliError> {
        let path = self.meta_folder(context.name()).join("meta.json");
        write_whole(&path, context.meta.to_string().as_bytes())
            .map_err(|cause| CliError::Local { what: format!("cannot write {}", path.display()), cause })
    }

    /// Keeps TLS material, in the place of all that was there.
    pub(crate) fn write_tls(&self, name: &str, files: &[(&str, Vec<u8>)]) -> Result<(), CliError> {
        let folder = self.tls_folder(name);
        let failed = |cause| CliError::Local { what: format!("cannot write {}", folder.display()), cause };
        remove_all(&folder).map_err(failed)?;
        for (file, bytes) in files {
            write_whole(&folder.join("docker").join(file), bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// A context's TLS material, by the names of its files.
    pub(crate) fn read_tls(&self, name: &str) -> Vec<(&'static str, Vec<u8>)> {
        let folder = self.tls_folder(name).join("docker");
        let file = |file| Some((file, fs::read(folder.join(file)).ok()?));
        TLS_FILES.into_iter().filter_map(file).collect()
    }

    /// Removes a context and its TLS material.
    pub(crate) fn remove(&self, name: &str) -> Result<(), CliError> {
        for folder in [self.meta_folder(name), self.tls_folder(name)] {
            remove_all(&folder).map_err(|cause| CliError::Local {
                what: format!("cannot remove {}", folder.display()),
                cause,
            })?;
        }
        Ok(())
    }
}

fn remove_all(folder: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn digest(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_lie_where_dockers_own_are() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store { root: directory.path().to_owned() };
        let context = Context::new("c1", "my d", json!({"Host": "unix:///x", "SkipTLSVerify": false}));
        store.write(&context).unwrap();
        let path = "meta/d0f631ca1ddba8db3bcfcb9e057cdc98d0379f1bee00e75a545147a27dadd982/meta.json";
        assert_eq!(
            fs::read_to_string(directory.path().join(path)).unwrap(),
            r#"{"Name":"c1","Metadata":{"Description":"my d"},"Endpoints":{"docker":{"Host":"unix:///x","SkipTLSVerify":false}}}"#
        );
        assert_eq!(store.read("c1").unwrap(), context);
        assert_eq!(store.list(), [context]);
        store.write_tls("c1", &[("ca.pem", b"x".to_vec())]).unwrap();
        assert_eq!(store.read_tls("c1"), [("ca.pem", b"x".to_vec())]);
        store.remove("c1").unwrap();
        assert!(store.list().is_empty() && store.read_tls("c1").is_empty());
        let error = store.read("c1").unwrap_err().to_string();
        assert!(error.starts_with("context \"c1\": context not found: open "), "{error}");
    }

    #[test]
    fn fields_of_others_stay() {
        let meta = json!({"Name": "a", "Metadata": {"Description": "x", "StackOrchestrator": "swarm"},
            "Endpoints": {"docker": {"Host": "unix:///x"}, "kubernetes": {}}});
        let context = Context { meta }.described("y").leading_to(json!({"Host": "unix:///y"}));
        assert_eq!(context.meta()["Metadata"]["StackOrchestrator"], "swarm");
        assert_eq!(context.meta()["Endpoints"]["kubernetes"], json!({}));
        assert_eq!((context.description(), context.host()), ("y", "unix:///y"));
    }
}
