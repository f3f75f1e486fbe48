//! The folder where Docker's command line keeps its settings (`$DOCKER_CONFIG`, `~/.docker`), shared with it:
//! which context is the current one, what is set for all commands, and logins, for `credentials`. What else is in
//! its file stays as it is.

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
        self.write(&settings)
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

    /// All that is in the file; nothing where there is none.
    pub(crate) fn read(&self) -> Result<Map<String, Value>, CliError> {
        let path = self.file();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(cause) => return Err(CliError::Local { what: format!("open {}", path.display()), cause }),
        };
        serde_json::from_str(&text).map_err(|error| self.senseless(&error))
    }

    /// Replaces all that is in the file.
    pub(crate) fn write(&self, settings: &Map<String, Value>) -> Result<(), CliError> {
        let path = self.file();
        let write = || write_whole(&path, tabbed(settings)?.as_bytes());
        write().map_err(|cause| CliError::Local { what: format!("cannot write {}", path.display()), cause })
    }
}

/// As Docker lays it out.
fn tabbed(settings: &Map<String, Value>) -> io::Result<String> {
    let mut text = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, form);
    serde::Serialize::serialize(settings, &mut serializer)?;
    String::from_utf8(text).map_err(io::Error::other)
}

/// Writes a file so that it is there whole or as before. A new one may only be read by its owner; one that is there
/// keeps its owner and mode, and where it is a link, what it leads to is written, as Docker does.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &followed(path);
    if let Some(folder) = path.parent() {
        crate::os::create_private_folder(folder)?;
    }
    let partial = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = crate::os::create_private_file(&partial)?;
    file.write_all(bytes)
        .and_then(|()| match fs::metadata(path) {
            Ok(before) => crate::os::give_to_owner_of(&file, &before),
            Err(_) => Ok(()),
        })
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| crate::os::sync_folder(path))
        .inspect_err(|_| {
            // Ours alone; the error that counts is the first.
            let _ = fs::remove_file(&partial);
        })
}

/// Where a path leads, be it to something that is not there yet.
fn followed(path: &Path) -> PathBuf {
    const MOST_LINKS: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = path.parent().map_or_else(|| target.clone(), |folder| folder.join(&target));
    }
    path
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

    #[cfg(unix)]
    #[test]
    fn a_link_stays_one_and_a_mode_stays_as_it_is() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (directory, config) = folder();
        let kept = directory.path().join("kept.json");
        fs::create_dir(&config.root).unwrap();
        symlink("../kept.json", config.file()).unwrap();
        config.set_current_context(Some("a")).unwrap();
        let mode = || fs::metadata(&kept).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&kept, fs::Permissions::from_mode(0o640)).unwrap();
        config.set_current_context(Some("b")).unwrap();
        assert_eq!(mode(), 0o640);
        assert!(fs::read_to_string(&kept).unwrap().contains("\"b\""));
        assert!(fs::symlink_metadata(config.file()).unwrap().is_symlink());
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
