//! Certificates for single registries, in folders that are named after them: `certs.d/<host[:port]>/` with
//!
//! | file | what |
//! |---|---|
//! | `*.crt` | root certificates that count for this registry alone |
//! | `*.cert`, `*.key` | who we are, where the registry wants to know |
//!
//! Holm's own `certs.d` goes first; Docker Desktop's and dockerd's are read as well, so that whoever has set up one of
//! them has set up this. They are read while a machine starts. Whatever is wrong with one file or folder is told in
//! the log, and the others count all the same.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use holm_api::link::{ClientCertificate, RegistryCertificates};
use tracing::warn;

use crate::home::Home;
use crate::os;

/// Bytes of the largest file; a chain has some ten thousand.
const LONGEST_FILE: u64 = 256 << 10;
/// Bytes of all of them: a message to the guest has its limit.
const MOST_BYTES: usize = 1 << 20;
/// Registries that have their own.
const MOST_REGISTRIES: usize = 128;

/// Where certificates are, the folders that count most first.
pub(super) fn folders(home: &Home) -> Vec<PathBuf> {
    let of_user = std::env::home_dir().map(|home| home.join(".docker/certs.d"));
    let of_system = os::SYSTEM_CERTIFICATES.map(PathBuf::from);
    [Some(home.registry_certificates()), of_user, of_system].into_iter().flatten().collect()
}

/// All certificates in these folders.
pub(super) fn read(folders: &[PathBuf]) -> Vec<RegistryCertificates> {
    let mut found = Found::default();
    for folder in folders {
        for (name, path) in entries(folder) {
            if path.is_dir() && is_registry(&name) {
                found.read(&name, &path);
            }
        }
    }
    found.registries.into_values().collect()
}

#[derive(Default)]
struct Found {
    registries: BTreeMap<String, RegistryCertificates>,
    bytes: usize,
}

impl Found {
    fn read(&mut self, registry: &str, folder: &Path) {
        if !self.registries.contains_key(registry) && self.registries.len() >= MOST_REGISTRIES {
            warn!("{} is passed over: {MOST_REGISTRIES} registries have certificates", folder.display());
            return;
        }
        let files = entries(folder);
        let has = |name: &str| files.iter().any(|(other, _)| other == name);
        let mut own = RegistryCertificates { registry: registry.to_owned(), ..Default::default() };
        for (name, path) in &files {
            match name.rsplit_once('.') {
                Some((_, "crt")) => {
                    let roots = self.text(path).unwrap_or_default();
                    own.roots.push_str(roots.trim_end());
                    own.roots.push('\n');
                }
                Some((stem, "cert")) => {
                    let key = format!("{stem}.key");
                    if !has(&key) {
                        warn!(
                            "{}: missing key {key} for client certificate {name}. CA certificates must use the extension .crt",
                            folder.display()
                        );
                    } else if own.client.is_some() {
                        warn!("{} is passed over: one client certificate is shown", path.display());
                    } else if let (Some(chain), Some(key)) = (self.text(path), self.text(&folder.join(&key)))
                    {
                        own.client = Some(ClientCertificate { chain, key });
                    }
                }
                Some((stem, "key")) if !has(&format!("{stem}.cert")) => {
                    warn!("{}: missing client certificate {stem}.cert for key {name}", folder.display());
                }
                _ => {}
            }
        }
        let known = self
            .registries
            .entry(registry.to_owned())
            .or_insert_with(|| RegistryCertificates { registry: registry.to_owned(), ..Default::default() });
        known.roots.push_str(own.roots.trim_start());
        known.client = known.client.take().or(own.client);
    }

    fn text(&mut self, path: &Path) -> Option<String> {
        match text(path) {
            Ok(text) if self.bytes + text.len() <= MOST_BYTES => {
                self.bytes += text.len();
                Some(text)
            }
            Ok(_) => {
                warn!("{} is passed over: there are too many certificates", path.display());
                None
            }
            Err(error) => {
                warn!("cannot read {}: {error}", path.display());
                None
            }
        }
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST_FILE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(io::Error::other(format!("it is longer than {LONGEST_FILE} bytes")));
    }
    Ok(text)
}

/// Names and paths in their order. A folder that is not there has none.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!("cannot look into {}: {error}", folder.display());
            }
            return Vec::new();
        }
    };
    let mut entries: Vec<_> = listed
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    entries.sort();
    entries
}

/// Whether a folder's name may be a registry's.
fn is_registry(name: &str) -> bool {
    !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn folders_are_read_in_their_order_and_the_first_certificate_is_shown() {
        let root = tempfile::tempdir().unwrap();
        let [ours, docker] = ["ours", "docker"].map(|name| root.path().join(name));
        write(&ours, "r.lan-5000/ca.crt", "A\n");
        write(&ours, "r.lan-5000/client.cert", "chain");
        write(&ours, "r.lan-5000/client.key", "key");
        write(&docker, "r.lan-5000/ca.crt", "B");
        write(&docker, "r.lan-5000/z.cert", "other chain");
        write(&docker, "r.lan-5000/z.key", "other key");
        write(&docker, "alone/only.cert", "no key");
        write(&docker, "a b/ca.crt", "no registry");
        write(&docker, "stray.crt", "no folder");
        let read = read(&[ours, docker, root.path().join("missing")]);
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].registry.as_str(), &read[0].client), ("alone", &None));
        let client = ClientCertificate { chain: "chain".to_owned(), key: "key".to_owned() };
        assert_eq!(read[1].roots, "A\nB\n");
        assert_eq!(read[1].client, Some(client));
    }

    #[test]
    fn what_is_too_long_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "r/a.crt", &"x".repeat(LONGEST_FILE as usize + 1));
        write(root.path(), "r/b.crt", "B");
        assert_eq!(read(&[root.path().to_owned()])[0].roots.trim(), "B");
        for number in 0..9 {
            write(root.path(), &format!("s/{number}.crt"), &"y".repeat(150_000));
        }
        let all: usize = read(&[root.path().to_owned()]).iter().map(|one| one.roots.len()).sum();
        assert!(all < MOST_BYTES, "{all}");
    }
}
