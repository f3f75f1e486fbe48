//! The folder where Docker's command line keeps its settings (`$DOCKER_CONFIG`, `~/.docker`), shared with it:
//! which context is the current one, and what is set for all commands. What else is in its file stays as it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::error::CliError;
use super::session;
use super::settings::Settings;

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFolder {
    root: PathBuf,
}

impl ConfigFolder {
    /// The one that `--config` names, or `DOCKER_CONFIG`, or the usual one.
    pub(crate) fn locate(flag: Option<&str>, variables: &BTreeMap<String, String>) -> Self {
        let named = flag.or_else(|| variables.get("DOCKER_CONFIG").map(String::as_str));
        let root = match named.filter(|named| !named.is_empty()) {
            Some(named) => PathBuf::from(named),
            None => std::env::home_dir().unwrap_or_default().join(".docker"),
        };
        Self { root }
    }

    /// A path in it.
    pub(crate) fn join(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The context that was last chosen, `None` where that is none or the default.
    pub(crate) fn current_context(&self) -> Option<String> {
        let settings = self.read().unwrap_or_else(|error| {
            session::warn(&format!("WARNING: {error}"));
            Map::new()
        });
        settings.get("currentContext")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned)
    }

    /// Chooses a context; `None` is the default.
    pub(crate) fn set_current_context(&self, name: Option<&str>) -> Result<(), CliError> {
        let mut settings = self.read()?;
        // Docker always writes this one, and some of its readers want it.
        settings.entry("auths").or_insert_with(|| json!({}));
        match name {
            Some(name) => settings.insert("currentContext".to_owned(), name.into()),
            None => settings.shift_remove("currentContext"),
        };
        let text = tabbed(&Value::Object(settings));
        let path = self.file();
        write_whole(&path, text.as_bytes())
            .map_err(|cause| CliError::Local { what: format!("cannot write {}", path.display()), cause })
    }

    /// What is set for all commands. A file that makes no sense is said so, and counts for nothing.
    pub(crate) fn settings(&self) -> Settings {
        let read = self.read().and_then(|settings| {
            serde_json::from_value(Value::Object(settings)).map_err(|error| self.senseless(&error))
        });
        read.unwrap_or_else(|error| {
            session::warn(&format!("WARNING: {error}"));
            Settings::default()
        })
    }

    fn senseless(&self, error: &serde_json::Error) -> CliError {
        CliError::said(format!("Error parsing config file ({}): {error}", self.file().display()))
    }

    fn file(&self) -> PathBuf {
        self.root.join("config.json")
    }

    fn read(&self) -> Result<Map<String, Value>, CliError> {
        let path = self.file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(cause) => return Err(CliError::Local { what: format!("open {}", path.display()), cause }),
        };
        serde_json::from_str(&text).map_err(|error| self.senseless(&error))
    }
}

/// As Docker lays it out.
fn tabbed(value: &Value) -> String {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, form);
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => value.to_string(),
    }
}

/// Writes a file that only its owner may read, so that it is there whole or as before.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        crate::os::create_private_folder(folder)?;
    }
    let partial = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = crate::os::create_private_file(&partial)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .inspect_err(|_| {
            // Ours alone; the error that counts is the first.
            let _ = fs::remove_file(&partial);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, ConfigFolder) {
        let directory = tempfile::tempdir().unwrap();
        let config = ConfigFolder { root: directory.path().join("docker") };
        (directory, config)
    }

    #[test]
    fn a_choice_is_kept_beside_what_others_wrote() {
        let (_directory, config) = folder();
        assert_eq!(config.current_context(), None);
        config.set_current_context(Some("a")).unwrap();
        assert_eq!(config.current_context().as_deref(), Some("a"));
        fs::write(config.file(), r#"{"auths":{"x":{}},"currentContext":"a","credsStore":"z"}"#).unwrap();
        config.set_current_context(None).unwrap();
        assert_eq!(
            fs::read_to_string(config.file()).unwrap(),
            "{\n\t\"auths\": {\n\t\t\"x\": {}\n\t},\n\t\"credsStore\": \"z\"\n}"
        );
    }

    #[test]
    fn a_file_that_makes_no_sense_is_not_written_over() {
        let (_directory, config) = folder();
        write_whole(&config.file(), b"bad").unwrap();
        assert!(config.set_current_context(Some("a")).is_err());
        assert_eq!(fs::read_to_string(config.file()).unwrap(), "bad");
        assert_eq!(config.current_context(), None);
    }
}
