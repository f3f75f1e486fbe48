//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf` of a container: written into its folder and mounted
//! over the image's.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Where a container's files are.
#[derive(Clone, Debug)]
pub struct EtcFiles {
    /// `/etc/hosts`.
    pub hosts: PathBuf,
    /// `/etc/hostname`.
    pub hostname: PathBuf,
    /// `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
}

/// What the files say.
#[derive(Clone, Debug, Default)]
pub struct EtcContent {
    /// The container's host name.
    pub hostname: String,
    /// Its domain name, where it has one.
    pub domainname: Option<String>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// `--add-host`, checked and resolved: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Name servers, in order.
    pub nameservers: Vec<IpAddr>,
    /// `search` domains.
    pub search: Vec<String>,
    /// `options`.
    pub options: Vec<String>,
}

impl EtcFiles {
    /// The files' places in `folder`.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            hosts: folder.join("hosts"),
            hostname: folder.join("hostname"),
            resolv_conf: folder.join("resolv.conf"),
        }
    }

    /// Writes all three in place: the container may be running, and its mounts are of these inodes.
    pub fn write(&self, content: &EtcContent) -> io::Result<()> {
        std::fs::write(&self.hostname, format!("{}\n", content.hostname))?;
        std::fs::write(&self.hosts, hosts(content))?;
        std::fs::write(&self.resolv_conf, resolv_conf(content))
    }
}

fn hosts(_content: &EtcContent) -> String {
    String::new()
}

fn resolv_conf(_content: &EtcContent) -> String {
    String::new()
}
