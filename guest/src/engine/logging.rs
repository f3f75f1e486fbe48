//! `--log-driver` and `--log-opt`: which are served, and what the shim is to do about them. `local` promises its users
//! no form of its files, so it is `json-file` with other defaults. What `--details` shows of a container never changes,
//! so it is not kept with each line, but made when somebody asks for it (`attributes.rs`).

mod attributes;

use std::path::{Path, PathBuf};

pub(crate) use attributes::details;

use super::EngineError;
use super::records::Definition;
use crate::shim::protocol::{LogFile, Rotated};

const JSON_FILE: &str = "json-file";
const LOCAL: &str = "local";
const NONE: &str = "none";

/// What `local` keeps unless it is told otherwise.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;

/// Where the container's output is kept.
pub(crate) fn path(definition: &Definition, folder: &Path) -> PathBuf {
    match driver(definition) {
        LOCAL => folder.join("local-logs").join("container.log"),
        _ => folder.join(format!("{}-json.log", definition.id)),
    }
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

fn options(definition: &Definition) -> impl Iterator<Item = (&str, &str)> {
    let options = definition.host.log_config.as_ref().and_then(|config| config.config.as_ref());
    options.into_iter().flatten().map(|(option, value)| (option.as_str(), value.as_str()))
}

/// What the shim writes; `None` where nothing is kept. Refuses drivers and options that are not served, in
/// Docker's words.
pub(super) fn log_file(definition: &Definition, folder: &Path) -> Result<Option<LogFile>, EngineError> {
    let name = driver(definition);
    let (size, files) = match name {
        JSON_FILE => (None, 1),
        LOCAL => (Some(LOCAL_SIZE), LOCAL_FILES),
        NONE => return Ok(None),
        _ => {
            let words = format!("error looking up logging plugin {name}: plugin \"{name}\" not found");
            return Err(invalid(words));
        }
    };
    let mut file =
        LogFile { path: path(definition, folder), max_size: size, max_files: files, rotated: Rotated::Plain };
    // As moby's: `local` compresses unless told otherwise, `json-file` does not. What is not asked for and cannot be is
    // left alone.
    let mut compress = None;
    for (option, value) in options(definition) {
        match option {
            "max-size" => file.max_size = max_size(name, value)?,
            "max-file" => file.max_files = max_files(name, value)?,
            "compress" => {
                compress = Some(parse_bool(value).ok_or_else(|| {
                    invalid(format!("strconv.ParseBool: parsing {value:?}: invalid syntax"))
                })?);
            }
            // A file takes what it is given at once, so that a container never waits for it; neither mode differs.
            "mode" if ["blocking", "non-blocking"].contains(&value) => {}
            "mode" => return Err(invalid(format!("logger: logging mode not supported: {value}"))),
            "max-buffer-size" => max_buffer(definition, value)?,
            "labels" | "labels-regex" | "env" | "env-regex" | "tag" => {}
            _ if name == LOCAL => {
                return Err(invalid(format!("unknown log opt '{option}' for log driver local")));
            }
            _ => return Err(invalid(format!("unknown log opt '{option}' for {name} log driver"))),
        }
    }
    details(definition)?;
    let rotates = file.max_files > 1 && file.max_size.is_some();
    if compress == Some(true) && name == LOCAL && file.max_files <= 1 {
        return Err(invalid("compression cannot be enabled when max file count is 1".to_owned()));
    }
    if compress == Some(true) && !rotates {
        let words = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return Err(invalid(words.to_owned()));
    }
    if compress.unwrap_or(name == LOCAL) && rotates {
        file.rotated = Rotated::Compressed;
    }
    Ok(Some(file))
}

fn max_size(driver: &str, value: &str) -> Result<Option<u64>, EngineError> {
    let size = size(value).ok_or_else(|| format!("invalid size: '{value}'"));
    match (driver, size) {
        (_, Ok(size)) if size > 0 => Ok(Some(size)),
        // As moby's: without a limit there is nothing to rotate.
        (LOCAL, Ok(_)) => Ok(None),
        (LOCAL, Err(words)) => Err(invalid(format!("invalid value for max-size: {value}: {words}"))),
        (_, Ok(_)) => Err(invalid("max-size must be a positive number".to_owned())),
        (_, Err(words)) => Err(invalid(words)),
    }
}

/// What a mode that drops lines may hold back; there is nothing to hold back.
fn max_buffer(definition: &Definition, value: &str) -> Result<(), EngineError> {
    if !options(definition).any(|option| option == ("mode", "non-blocking")) {
        let words = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
        return Err(invalid(words.to_owned()));
    }
    match size(value) {
        Some(_) => Ok(()),
        None => Err(invalid(format!("error parsing option max-buffer-size: invalid size: '{value}'"))),
    }
}

fn max_files(driver: &str, value: &str) -> Result<u32, EngineError> {
    let number = value
        .parse::<i64>()
        .map_err(|_| format!("strconv.Atoi: parsing {value:?}: invalid syntax"))
        .map(|number| u32::try_from(number).map_err(|_| number < 0));
    match (driver, number) {
        (LOCAL, Ok(Ok(number))) => Ok(number.max(1)),
        (LOCAL, Ok(Err(true))) => Err(invalid("max-file must not be negative".to_owned())),
        (LOCAL, Err(words)) => Err(invalid(format!("invalid value for max-file: {value}: {words}"))),
        (_, Ok(Ok(number))) if number > 0 => Ok(number),
        (_, Ok(Ok(_) | Err(true))) => Err(invalid("max-file cannot be less than 1".to_owned())),
        (_, Ok(Err(false))) => Err(invalid(format!("strconv.Atoi: parsing {value:?}: value out of range"))),
        (_, Err(words)) => Err(invalid(words)),
    }
}

fn invalid(message: String) -> EngineError {
    EngineError::Invalid(message)
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `10m`, `1.5GB`, `100`: bytes in powers of 1000, as Docker reads the sizes of logs, unlike those of memory.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let power = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        "p" | "pb" | "pib" => 5,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * 1000f64.powi(power);
    (bytes.is_finite() && bytes >= 0.0).then_some(bytes as u64)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use holm_api::models::HostConfigLogConfig;

    use super::*;
    use crate::engine::records::tests::definition;

    pub(super) fn logged(driver: &str, options: &[(&str, &str)]) -> Definition {
        let mut definition = definition();
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        definition.host.log_config = Some(HostConfigLogConfig {
            typ: Some(driver.to_owned()),
            config: Some(options.collect::<HashMap<_, _>>()),
        });
        definition
    }

    fn asked(driver: &str, options: &[(&str, &str)]) -> Result<Option<LogFile>, String> {
        log_file(&logged(driver, options), Path::new("/c")).map_err(|error| error.to_string())
    }

    #[test]
    fn output_is_kept_in_one_endless_file_by_default() {
        let file = asked("", &[]).unwrap().unwrap();
        assert_eq!((file.max_size, file.max_files, file.rotated), (None, 1, Rotated::Plain));
        assert!(asked("none", &[("anything", "goes")]).unwrap().is_none());
    }

    #[test]
    fn local_rotates_by_itself() {
        let file = asked("local", &[]).unwrap().unwrap();
        assert_eq!((file.max_size, file.max_files, file.rotated), (Some(20 << 20), 5, Rotated::Compressed));
        assert_eq!(file.path, Path::new("/c/local-logs/container.log"));
        let file = asked("local", &[("max-size", "0"), ("max-file", "2")]).unwrap().unwrap();
        assert_eq!((file.max_size, file.max_files), (None, 2));
    }

    #[test]
    fn sizes_are_powers_of_1000() {
        assert_eq!(asked("json-file", &[("max-size", "10m")]).unwrap().unwrap().max_size, Some(10_000_000));
        assert_eq!(size("1.5 KiB"), Some(1500));
        assert_eq!(size("7"), Some(7));
        for wrong in ["ten", "1x", "-1", "1  k", "1bk"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_served_is_refused_in_dockers_words() {
        let refused = |driver, option, value| asked(driver, &[(option, value)]).unwrap_err();
        assert_eq!(
            asked("syslog", &[]).unwrap_err(),
            "error looking up logging plugin syslog: plugin \"syslog\" not found"
        );
        assert_eq!(refused("json-file", "tags", "x"), "unknown log opt 'tags' for json-file log driver");
        assert_eq!(refused("local", "tags", "x"), "unknown log opt 'tags' for log driver local");
        assert_eq!(refused("json-file", "mode", "x"), "logger: logging mode not supported: x");
        assert_eq!(
            refused("local", "max-buffer-size", "1m"),
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
        );
        assert!(asked("json-file", &[("mode", "non-blocking"), ("max-buffer-size", "4m")]).is_ok());
        assert_eq!(refused("json-file", "max-file", "0"), "max-file cannot be less than 1");
        assert_eq!(refused("json-file", "max-file", "x"), "strconv.Atoi: parsing \"x\": invalid syntax");
        assert_eq!(refused("json-file", "max-size", "0"), "max-size must be a positive number");
        assert_eq!(refused("json-file", "max-size", "-1"), "invalid size: '-1'");
        assert_eq!(refused("local", "max-file", "-1"), "max-file must not be negative");
        assert_eq!(
            refused("json-file", "compress", "true"),
            "compress cannot be true when max-file is less than 2 or max-size is not set"
        );
        assert!(asked("json-file", &[("compress", "false")]).is_ok());
    }

    #[test]
    fn rotated_logs_are_compressed_where_that_is_asked_for() {
        let rotated = |driver, compress| {
            let options = [("compress", compress), ("max-file", "2"), ("max-size", "1k")];
            asked(driver, &options).unwrap().unwrap().rotated
        };
        assert_eq!(rotated("json-file", "true"), Rotated::Compressed);
        assert_eq!(rotated("json-file", "false"), Rotated::Plain);
        assert_eq!(rotated("local", "false"), Rotated::Plain);
        let file = asked("json-file", &[("max-file", "2"), ("max-size", "1k")]).unwrap().unwrap();
        assert_eq!(file.rotated, Rotated::Plain);
    }
}
