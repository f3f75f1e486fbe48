//! `settings.toml`: read once, checked whole, and every complaint names the key and the line.
//!
//! ```toml
//! machine = "auto"            # auto, qemu, process
//! cpus = 4
//! memory = "4GiB"
//! disk-size = "64GiB"         # grows; never shrinks
//! registry-mirrors = ["https://mirror.example.com"]
//! insecure-registries = ["registry.lan:5000", "10.0.0.0/8"]
//! listen-tcp = "127.0.0.1:2376"             # the Engine API with TLS, for clients with Holm's certificate
//! listen-tcp-insecure = "127.0.0.1:2375"    # for every program of this computer, web pages left out
//! plain-binds = true                        # folders as they are; the machine `process` alone can
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use holm_vmm::{Choice, Mebibytes};
use serde::Deserialize;
use toml::Spanned;

mod loopback;
mod registry;
mod size;

/// What the user asked for, with defaults filled in and every value checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) machine: Choice,
    pub(crate) cpus: u32,
    pub(crate) memory: Mebibytes,
    pub(crate) disk_size: Mebibytes,
    pub(crate) registry_mirrors: Vec<String>,
    pub(crate) insecure_registries: Vec<String>,
    pub(crate) listen_tcp: Option<SocketAddr>,
    pub(crate) listen_tcp_insecure: Option<SocketAddr>,
    /// Folders of this computer are bound in containers as they are, and not served.
    pub(crate) plain_binds: bool,
}

/// What this computer has, for the defaults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Computer {
    pub(crate) cpus: u32,
    pub(crate) memory: Mebibytes,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file is there and cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    /// A line is not TOML, or a key or value is not ours.
    #[error("{}:{line}: {problem}", path.display())]
    Wrong { path: PathBuf, line: usize, problem: String },
}

impl SettingsError {
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } => None,
            Self::Wrong { path, .. } => Some(format!("correct {} and try again", path.display())),
        }
    }
}

const SMALLEST_MEMORY: Mebibytes = Mebibytes(256);
const LARGEST_DEFAULT_MEMORY: Mebibytes = Mebibytes(8 << 10);
const DEFAULT_DISK: Mebibytes = Mebibytes(64 << 10);
/// The template is 64 MiB and its journal 8; less than this holds no image worth running.
const SMALLEST_DISK: Mebibytes = Mebibytes(256);
/// ext4 with 4 KiB blocks goes to 16 TiB without the `64bit` feature.
const LARGEST_DISK: Mebibytes = Mebibytes(16 << 20);

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Written {
    machine: Option<Spanned<String>>,
    cpus: Option<Spanned<i64>>,
    memory: Option<Spanned<String>>,
    disk_size: Option<Spanned<String>>,
    registry_mirrors: Vec<Spanned<String>>,
    insecure_registries: Vec<Spanned<String>>,
    listen_tcp: Option<Spanned<String>>,
    listen_tcp_insecure: Option<Spanned<String>>,
    plain_binds: Option<Spanned<bool>>,
}

impl Settings {
    /// From the file at `path`; all defaults where there is none.
    pub(crate) fn read(path: &Path, computer: Computer) -> Result<Self, SettingsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, path, computer),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Self::parse("", path, computer),
            Err(cause) => Err(SettingsError::Unreadable { path: path.to_owned(), cause }),
        }
    }

    fn parse(text: &str, path: &Path, computer: Computer) -> Result<Self, SettingsError> {
        let wrong = |offset: usize, problem: String| {
            let key = key_at(text, offset);
            let problem = if key.is_empty() { problem } else { format!("`{key}`: {problem}") };
            SettingsError::Wrong { path: path.to_owned(), line: line_of(text, offset), problem }
        };
        let written: Written = toml::from_str(text)
            .map_err(|e| wrong(e.span().map_or(0, |span| span.start), e.message().to_owned()))?;

        let machine = check(written.machine, Choice::Auto, &wrong, |name| name.parse::<Choice>())?;
        let cpus = check(written.cpus, computer.cpus, &wrong, |count| match u32::try_from(*count) {
            Ok(count) if (1..=computer.cpus).contains(&count) => Ok(count),
            _ => Err(format!("{count} processors: this computer has 1 to {}", computer.cpus)),
        })?;
        let half = Mebibytes(computer.memory.0 / 2).min(LARGEST_DEFAULT_MEMORY).max(SMALLEST_MEMORY);
        let memory = check(written.memory, half, &wrong, |text| {
            size::parse_between(text, SMALLEST_MEMORY, computer.memory.max(SMALLEST_MEMORY))
        })?;
        let disk_size = check(written.disk_size, DEFAULT_DISK, &wrong, |text| {
            size::parse_between(text, SMALLEST_DISK, LARGEST_DISK)
        })?;
        let registry_mirrors = check_all(written.registry_mirrors, &wrong, registry::mirror)?;
        let insecure_registries = check_all(written.insecure_registries, &wrong, registry::insecure)?;
        let address =
            |written| check(written, None, &wrong, |text: &String| loopback::address(text).map(Some));
        let plain_binds = check(written.plain_binds, false, &wrong, |plain| match (plain, machine) {
            (true, Choice::Auto | Choice::Qemu) => {
                Err("only the machine `process` sees this computer's folders")
            }
            (plain, _) => Ok(*plain),
        })?;
        Ok(Self {
            machine,
            cpus,
            memory,
            disk_size,
            registry_mirrors,
            insecure_registries,
            listen_tcp: address(written.listen_tcp)?,
            listen_tcp_insecure: address(written.listen_tcp_insecure)?,
            plain_binds,
        })
    }
}

fn check<T, U, E: ToString>(
    written: Option<Spanned<T>>,
    default: U,
    wrong: &impl Fn(usize, String) -> SettingsError,
    parse: impl FnOnce(&T) -> Result<U, E>,
) -> Result<U, SettingsError> {
    match written {
        None => Ok(default),
        Some(value) => parse(value.get_ref()).map_err(|e| wrong(value.span().start, e.to_string())),
    }
}

fn check_all(
    written: Vec<Spanned<String>>,
    wrong: &impl Fn(usize, String) -> SettingsError,
    parse: impl Fn(&str) -> Result<String, String>,
) -> Result<Vec<String>, SettingsError> {
    let parse_one = |value: &Spanned<String>| {
        parse(value.get_ref()).map_err(|problem| wrong(value.span().start, problem))
    };
    written.iter().map(parse_one).collect()
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// The key whose value stands at `offset`: the last one that a line up to there begins with, since a list goes
/// over several lines.
fn key_at(text: &str, offset: usize) -> &str {
    let end =
        text.get(offset..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| offset + length);
    let lines = text.get(..end).unwrap_or(text).lines().rev();
    let key = |line: &'_ str| -> Option<usize> {
        let (key, _) = line.split_once('=')?;
        let key = key.trim();
        let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        is_key.then_some(key.len())
    };
    lines
        .filter_map(|line| key(line).and_then(|length| line.trim_start().get(..length)))
        .next()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPUTER: Computer = Computer { cpus: 4, memory: Mebibytes(6 << 10) };

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(text, Path::new("settings.toml"), COMPUTER).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_means_the_defaults() {
        let settings = parse("").unwrap();
        assert_eq!(settings.machine, Choice::Auto);
        assert_eq!((settings.cpus, settings.memory), (4, Mebibytes(3 << 10)));
        assert_eq!(settings.disk_size, DEFAULT_DISK);
    }

    #[test]
    fn every_key_is_read() {
        let settings = parse(
            "machine = \"process\"\ncpus = 2\nmemory = \"1GiB\"\ndisk-size = \"20 GB\"\n\
             registry-mirrors = [\"http://localhost:5000\"]\ninsecure-registries = [\"10.0.0.0/8\", \"r.lan:5000\"]\n\
             listen-tcp = \"127.0.0.1:2376\"\nlisten-tcp-insecure = \"[::1]:2375\"\nplain-binds = true\n",
        )
        .unwrap();
        assert_eq!(settings.machine, Choice::Process);
        assert_eq!((settings.cpus, settings.memory.0), (2, 1024));
        assert_eq!(settings.disk_size.0, 20_000_000_000 >> 20);
        assert_eq!(settings.registry_mirrors, ["http://localhost:5000"]);
        assert_eq!(settings.insecure_registries, ["10.0.0.0/8", "r.lan:5000"]);
        assert_eq!(settings.listen_tcp, "127.0.0.1:2376".parse().ok());
        assert_eq!(settings.listen_tcp_insecure, "[::1]:2375".parse().ok());
        assert!(settings.plain_binds);
    }

    #[test]
    fn a_complaint_names_the_key_and_the_line() {
        for (text, complaint) in [
            ("cpus = 2\ncolour = 1\n", "settings.toml:2: `colour`: unknown field `colour`"),
            ("\ncpus = 0\n", "settings.toml:2: `cpus`: 0 processors"),
            ("cpus = \"two\"\n", "settings.toml:1: `cpus`: invalid type"),
            ("memory = \"lots\"\n", "settings.toml:1: `memory`: "),
            ("memory = \"1TiB\"\n", "settings.toml:1: `memory`: "),
            ("machine = \"vmware\"\n", "settings.toml:1: `machine`: "),
            ("registry-mirrors = [\n  \"ftp://x\",\n]\n", "settings.toml:2: `registry-mirrors`: "),
            ("insecure-registries = [\"a b\"]\n", "settings.toml:1: `insecure-registries`: "),
            ("listen-tcp = \"0.0.0.0:2376\"\n", "settings.toml:1: `listen-tcp`: "),
            ("plain-binds = true\n", "settings.toml:1: `plain-binds`: only the machine `process`"),
            ("cpus 2\n", "settings.toml:1: "),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(complaint), "{text:?} gave {error:?}, not {complaint:?}");
        }
    }
}
