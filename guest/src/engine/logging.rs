//! `--log-driver` and `--log-opt`: which are served, and what the shim is to do about them.

use std::path::{Path, PathBuf};

use super::EngineError;
use super::records::Definition;
use crate::shim::protocol::LogFile;

const JSON_FILE: &str = "json-file";
const NONE: &str = "none";

/// Where the container's output is kept.
pub(crate) fn path(definition: &Definition, folder: &Path) -> PathBuf {
    folder.join(format!("{}-json.log", definition.id))
}

/// Whether its output is kept at all.
pub(crate) fn is_kept(definition: &Definition) -> bool {
    driver(definition) != NONE
}

/// The driver's name, as clients see it.
pub(crate) fn driver(definition: &Definition) -> &str {
    let config = definition.host.log_config.as_ref();
    config.and_then(|config| config.typ.as_deref()).filter(|name| !name.is_empty()).unwrap_or(JSON_FILE)
}

/// What the shim writes; `None` where nothing is kept. Refuses drivers and options that are not served, in
/// Docker's words.
pub(super) fn log_file(definition: &Definition, folder: &Path) -> Result<Option<LogFile>, EngineError> {
    let name = driver(definition);
    if name != JSON_FILE && name != NONE {
        return Err(EngineError::Invalid(format!("logger: no log driver named '{name}' is registered")));
    }
    let mut file = LogFile { path: path(definition, folder), max_size: None, max_files: 1 };
    let options = definition.host.log_config.as_ref().and_then(|config| config.config.as_ref());
    for (option, value) in options.into_iter().flatten() {
        match option.as_str() {
            "max-size" if name == JSON_FILE => {
                file.max_size = match size(value) {
                    Some(0) => return Err(EngineError::Invalid("max-size must be a positive number".into())),
                    // Docker's way to say never.
                    None if value == "-1" => None,
                    None => return Err(EngineError::Invalid(format!("invalid size: '{value}'"))),
                    size => size,
                };
            }
            "max-file" if name == JSON_FILE => {
                file.max_files = value
                    .parse()
                    .ok()
                    .filter(|files| *files >= 1)
                    .ok_or_else(|| EngineError::Invalid("max-file cannot be less than 1".into()))?;
            }
            _ => {
                return Err(EngineError::Invalid(format!(
                    "unknown log opt '{option}' for {name} log driver"
                )));
            }
        }
    }
    if file.max_files > 1 && file.max_size.is_none() {
        return Err(EngineError::Invalid("max-file option is ignored when max-size is not set".to_owned()));
    }
    Ok((name == JSON_FILE).then_some(file))
}

/// `10m`, `1.5GB`, `100`: bytes in powers of 1024, as Docker reads sizes.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start().to_ascii_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * 1024f64.powi(power);
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use holm_api::models::HostConfigLogConfig;

    use super::*;
    use crate::engine::records::tests::definition;

    fn asked(driver: &str, options: &[(&str, &str)]) -> Result<Option<LogFile>, String> {
        let mut definition = definition();
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        definition.host.log_config = Some(HostConfigLogConfig {
            typ: Some(driver.to_owned()),
            config: Some(options.collect::<HashMap<_, _>>()),
        });
        log_file(&definition, Path::new("/c")).map_err(|error| error.to_string())
    }

    #[test]
    fn output_is_kept_in_one_endless_file_by_default() {
        let file = asked("", &[]).unwrap().unwrap();
        assert_eq!((file.max_size, file.max_files), (None, 1));
        assert!(asked("none", &[]).unwrap().is_none());
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(asked("json-file", &[("max-size", "10m")]).unwrap().unwrap().max_size, Some(10 << 20));
        assert_eq!(size("1.5 KiB"), Some(1536));
        assert_eq!(size("7"), Some(7));
        assert_eq!(size("ten"), None);
        assert_eq!(size("1x"), None);
    }

    #[test]
    fn what_is_not_served_is_refused_in_dockers_words() {
        assert_eq!(asked("syslog", &[]).unwrap_err(), "logger: no log driver named 'syslog' is registered");
        assert_eq!(
            asked("json-file", &[("compress", "true")]).unwrap_err(),
            "unknown log opt 'compress' for json-file log driver"
        );
        assert_eq!(asked("json-file", &[("max-file", "0")]).unwrap_err(), "max-file cannot be less than 1");
    }
}
