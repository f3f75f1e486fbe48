//! Options of the driver `local`: which file system a volume stands for, as mount(8) and `/etc/fstab` word it
//! (moby, `daemon/volume/local`).

use std::collections::BTreeMap;
use std::path::Path;

use rustix::mount::MountFlags;

/// Names of all options.
const KNOWN: [&str; 4] = ["device", "o", "size", "type"];
/// What an option needs beside it.
const NEEDED: [(&str, &[&str]); 3] =
    [("device", &["type"]), ("o", &["device", "type"]), ("type", &["device"])];

/// What is mounted at a volume's data while somebody uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileSystem {
    /// `nfs`, `tmpfs`, `none`.
    pub(crate) kind: String,
    /// A device, a server's folder, a folder.
    pub(crate) device: String,
    /// Flags of mount(2).
    pub(crate) flags: MountFlags,
    /// What is left for the file system itself.
    pub(crate) data: String,
}

/// Options that make no sense, in Docker's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OptionsError {
    /// None of ours.
    #[error("invalid option: {0:?}")]
    Unknown(String),
    /// Half of a pair.
    #[error("missing required option: {0:?}")]
    Missing(&'static str),
    /// A limit on a volume's size needs quotas, which no data disk of ours has.
    #[error("quota size requested but no quota support")]
    Quota,
    /// `size` is no size.
    #[error("invalid size: '{0}'")]
    Size(String),
}

/// Reads a volume's options; `None` where its data is kept in its own folder.
pub(crate) fn file_system(options: &BTreeMap<String, String>) -> Result<Option<FileSystem>, OptionsError> {
    if let Some(unknown) = options.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(OptionsError::Unknown(unknown.clone()));
    }
    if let Some(size) = options.get("size") {
        let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        match digits.parse::<f64>() {
            Ok(number) if number > 0.0 => return Err(OptionsError::Quota),
            Ok(0.0) => {}
            _ => return Err(OptionsError::Size(size.clone())),
        }
    }
    for (option, needed) in NEEDED.iter().filter(|(option, _)| options.contains_key(*option)) {
        debug_assert!(!needed.contains(option));
        if let Some(missing) = needed.iter().find(|name| !options.contains_key(**name)) {
            return Err(OptionsError::Missing(missing));
        }
    }
    let text = |name: &str| options.get(name).cloned().unwrap_or_default();
    if text("type").is_empty() && text("device").is_empty() {
        return Ok(None);
    }
    let (flags, data) = split(&text("o"));
    Ok(Some(FileSystem { kind: text("type"), device: text("device"), flags, data }))
}

/// Tells flags of mount(2) from what only the file system understands.
fn split(options: &str) -> (MountFlags, String) {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    for option in options.split(',') {
        match flag(option) {
            Some((flag, true)) => flags.insert(flag),
            Some((flag, false)) => flags.remove(flag),
            None if option == "defaults" || option.is_empty() => {}
            None => data.push(option),
        }
    }
    (flags, data.join(","))
}

/// The flag that a word sets, or takes back.
fn flag(word: &str) -> Option<(MountFlags, bool)> {
    Some(match word {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "suid" => (MountFlags::NOSUID, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "dev" => (MountFlags::NODEV, false),
        "nodev" => (MountFlags::NODEV, true),
        "exec" => (MountFlags::NOEXEC, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "atime" => (MountFlags::NOATIME, false),
        "noatime" => (MountFlags::NOATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND | MountFlags::REC, true),
        _ => return None,
    })
}

impl FileSystem {
    /// Whether the device is a folder of the computer's.
    pub(crate) fn is_bind(&self) -> bool {
        self.flags.contains(MountFlags::BIND)
    }

    /// The server whose name has to become an address before the kernel understands it.
    pub(crate) fn server(&self) -> Option<&str> {
        let network = matches!(self.kind.as_str(), "nfs" | "nfs4" | "cifs");
        let address = self.data.split(',').find_map(|option| option.strip_prefix("addr="))?;
        (network && address.parse::<std::net::Ipv4Addr>().is_err()).then_some(address)
    }

    /// The same with the server's address in place of its name.
    pub(crate) fn at(mut self, server: &str, address: std::net::IpAddr) -> Self {
        self.data = self.data.replacen(&format!("addr={server}"), &format!("addr={address}"), 1);
        self
    }

    /// For messages, as moby words it: without the password that may be in it.
    pub(crate) fn shown(&self, at: &Path) -> String {
        let data = self.data.split(',').map(|option| match option.starts_with("password=") {
            true => "password=********",
            false => option,
        });
        let data = data.collect::<Vec<_>>().join(",");
        let mut text = format!("mount {}:{}", self.device, at.display());
        if !self.flags.is_empty() {
            text += &format!(", flags: {:#x}", self.flags.bits());
        }
        if !data.is_empty() {
            text += &format!(", data: {data}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn read(list: &[(&str, &str)]) -> FileSystem {
        file_system(&options(list)).unwrap().unwrap()
    }

    #[test]
    fn flags_are_the_kernels_and_the_rest_is_the_file_systems() {
        let tmpfs = read(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=100m,uid=1000,nosuid,ro,rw")]);
        assert_eq!((tmpfs.flags, tmpfs.data.as_str()), (MountFlags::NOSUID, "size=100m,uid=1000"));
        assert!(!tmpfs.is_bind());
        let bind = read(&[("type", "none"), ("device", "/srv"), ("o", "rbind,ro")]);
        assert_eq!(bind.flags, MountFlags::BIND | MountFlags::REC | MountFlags::RDONLY);
        assert!(bind.is_bind());
        assert_eq!(file_system(&options(&[])).unwrap(), None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_dockers_words() {
        let refused = |list: &[(&str, &str)]| file_system(&options(list)).unwrap_err().to_string();
        assert_eq!(refused(&[("colour", "red")]), "invalid option: \"colour\"");
        assert_eq!(refused(&[("type", "tmpfs")]), "missing required option: \"device\"");
        assert_eq!(refused(&[("device", "tmpfs")]), "missing required option: \"type\"");
        assert_eq!(refused(&[("size", "10G")]), "quota size requested but no quota support");
        assert_eq!(refused(&[("size", "big")]), "invalid size: 'big'");
    }

    #[test]
    fn a_server_is_a_name_that_still_needs_an_address() {
        let nfs = read(&[("type", "nfs"), ("device", ":/srv"), ("o", "addr=files.lan,nolock,password=x")]);
        assert_eq!(nfs.server(), Some("files.lan"));
        let found = nfs.at("files.lan", [10, 0, 0, 1].into());
        assert_eq!((found.server(), found.data.as_str()), (None, "addr=10.0.0.1,nolock,password=x"));
        let shown = found.shown(Path::new("/v"));
        assert_eq!(shown, "mount :/srv:/v, data: addr=10.0.0.1,nolock,password=********");
        let bind = read(&[("type", "none"), ("device", "/srv"), ("o", "bind")]);
        assert_eq!(bind.shown(Path::new("/v")), "mount /srv:/v, flags: 0x1000");
    }
}
