//! The host's hosts file, read again when it has changed.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use hickory_resolver::Hosts;
use hickory_resolver::proto::op::Query;

use super::local::seen_from_guest;

/// What tells one version of the file from another.
type Stamp = Option<(SystemTime, u64)>;

/// A hosts file and what it last said.
pub(super) struct HostsFile {
    path: PathBuf,
    read: Mutex<(Stamp, Arc<Hosts>)>,
}

impl HostsFile {
    /// The host's.
    pub(super) fn system() -> Self {
        Self::at(system_path())
    }

    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, read: Mutex::new((None, Arc::new(Hosts::default()))) }
    }

    /// The addresses of a name, of the kind that is asked for, as a guest has to see them.
    pub(super) fn lookup(&self, question: &Query) -> Option<Vec<IpAddr>> {
        let found = self.current().lookup_static_host(question)?;
        let addresses = found.answers().iter().filter_map(|record| record.data.ip_addr());
        Some(addresses.map(seen_from_guest).collect())
    }

    fn current(&self) -> Arc<Hosts> {
        let stamp = self.stamp();
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != stamp {
            let mut hosts = Hosts::default();
            // A file that is not there or cannot be read says nothing.
            if let Err(error) = File::open(&self.path).and_then(|file| hosts.read_hosts_conf(file)) {
                tracing::debug!(path = %self.path.display(), %error, "cannot read the hosts file");
            }
            *read = (stamp, Arc::new(hosts));
        }
        Arc::clone(&read.1)
    }

    fn stamp(&self) -> Stamp {
        let metadata = fs::metadata(&self.path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }
}

#[cfg(not(windows))]
fn system_path() -> PathBuf {
    PathBuf::from("/etc/hosts")
}

#[cfg(windows)]
fn system_path() -> PathBuf {
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| r"C:\Windows".into());
    PathBuf::from(root).join(r"System32\drivers\etc\hosts")
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::{Name, RecordType};
    use holm_api::network::{HOST_V4, HOST_V6};

    use super::*;

    fn ask(file: &HostsFile, name: &str, kind: RecordType) -> Option<Vec<IpAddr>> {
        file.lookup(&Query::query(Name::from_ascii(name).unwrap(), kind))
    }

    #[test]
    fn names_are_found_by_kind_and_loopback_becomes_the_hosts_address() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "10.1.2.3 registry.corp\n127.0.0.1 app.test # mine\n::1 app.test\n").unwrap();
        let hosts = HostsFile::at(file.path().into());
        assert_eq!(ask(&hosts, "Registry.Corp.", RecordType::A), Some(vec![[10, 1, 2, 3].into()]));
        assert_eq!(ask(&hosts, "registry.corp.", RecordType::AAAA), None);
        assert_eq!(ask(&hosts, "app.test", RecordType::A), Some(vec![HOST_V4.into()]));
        assert_eq!(ask(&hosts, "app.test", RecordType::AAAA), Some(vec![HOST_V6.into()]));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "10.0.0.1 name\n").unwrap();
        let hosts = HostsFile::at(file.path().into());
        assert!(ask(&hosts, "other", RecordType::A).is_none());
        fs::write(file.path(), "10.0.0.1 name\n10.0.0.2 other\n").unwrap();
        assert_eq!(ask(&hosts, "other", RecordType::A), Some(vec![[10, 0, 0, 2].into()]));
    }
}
