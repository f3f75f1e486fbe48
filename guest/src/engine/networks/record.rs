//! What is kept of a network: one JSON file each, durable before a client learns of its id.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use holm_api::NetworkId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A network. Nothing in it changes while it exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// For its whole life.
    pub(crate) id: NetworkId,
    /// Unique.
    pub(crate) name: String,
    /// When.
    pub(crate) created: DateTime<Utc>,
    /// What makes it.
    pub(crate) driver: Driver,
    /// It has IPv4 addresses.
    pub(crate) ipv4: bool,
    /// It has IPv6 addresses.
    pub(crate) ipv6: bool,
    /// Nothing leads out of it.
    pub(crate) internal: bool,
    /// Told to clients; only a swarm makes anything of it.
    pub(crate) attachable: bool,
    /// It is only there for others to be made like it.
    pub(crate) config_only: bool,
    /// Of which one it has its configuration.
    pub(crate) config_from: String,
    /// The driver's, as given.
    pub(crate) options: BTreeMap<String, String>,
    /// As given.
    pub(crate) labels: BTreeMap<String, String>,
    /// How addresses were asked for.
    pub(crate) ipam: Ipam,
    /// What there is of IPv4 and IPv6, in this order.
    pub(crate) subnets: Vec<Subnet>,
}

impl Network {
    /// One without options or addresses.
    pub(super) fn new(id: NetworkId, name: &str, created: DateTime<Utc>, driver: Driver) -> Self {
        Self {
            id,
            name: name.to_owned(),
            created,
            driver,
            ipv4: true,
            ipv6: false,
            internal: false,
            attachable: false,
            config_only: false,
            config_from: String::new(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            ipam: Ipam::default(),
            subnets: Vec::new(),
        }
    }
}

/// What makes a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Driver {
    /// A bridge in the machine.
    Bridge,
    /// The machine's own interfaces.
    Host,
    /// Nothing.
    Null,
}

impl Driver {
    /// As Docker calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// How addresses were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ipam {
    /// As given.
    pub(crate) driver: String,
    /// As given; shown as `null` where nothing was.
    pub(crate) options: Option<BTreeMap<String, String>>,
    /// As given.
    pub(crate) config: Vec<IpamConfig>,
}

/// A subnet as somebody asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct IpamConfig {
    /// With its prefix.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) subnet: String,
    /// Out of which addresses are given unasked.
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    pub(crate) range: String,
    /// An address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) gateway: String,
    /// Addresses that no container gets, by name.
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) auxiliary: BTreeMap<String, String>,
}

/// A subnet as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subnet {
    /// All of it.
    pub(crate) net: IpNet,
    /// Out of which addresses are given unasked.
    pub(crate) range: Option<IpNet>,
    /// Of the bridge; `None` where nothing leads out and nobody asked for one.
    pub(crate) gateway: Option<IpAddr>,
    /// Addresses that no container gets.
    pub(crate) auxiliary: Vec<IpAddr>,
}

/// The name of a network's file.
fn path(folder: &Path, id: &NetworkId) -> PathBuf {
    folder.join(format!("{id}.json"))
}

/// Writes it so that it outlives a lost power.
pub(super) fn write(folder: &Path, network: &Network) -> io::Result<()> {
    write_file(folder, &path(folder, &network.id), network)
}

/// Likewise, any file of the folder.
pub(super) fn write_file(folder: &Path, path: &Path, value: &impl Serialize) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Removes it likewise; it may be gone already.
pub(super) fn remove(folder: &Path, id: &NetworkId) -> io::Result<()> {
    match fs::remove_file(path(folder, id)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(folder)?.sync_all(),
    }
}

/// All networks on the disk.
pub(super) fn read_all(folder: &Path) -> io::Result<Vec<Network>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let file = entry?.path();
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Ok(id) = stem.parse::<NetworkId>() else { continue };
        if file.extension().is_none_or(|extension| extension != "json") {
            // Half written when the power went.
            fs::remove_file(&file)?;
            continue;
        }
        match serde_json::from_slice::<Network>(&fs::read(&file)?) {
            Ok(network) if network.id == id => all.push(network),
            Ok(_) => tracing::warn!("{} holds another network's record", file.display()),
            // Not ours to throw away: somebody may want to look at it.
            Err(error) => tracing::warn!("{} cannot be read: {error}", file.display()),
        }
    }
    Ok(all)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn network(name: &str, subnet: &str) -> Network {
        let net: IpNet = subnet.parse().unwrap();
        let id = NetworkId::from_bytes([name.len() as u8; 32]);
        Network {
            subnets: vec![Subnet { net, range: None, gateway: net.hosts().next(), auxiliary: Vec::new() }],
            ..Network::new(id, name, DateTime::UNIX_EPOCH, Driver::Bridge)
        }
    }

    #[test]
    fn networks_read_back_as_they_were_written_and_torn_ones_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mine = network("mine", "10.1.0.0/24");
        write(folder.path(), &mine).unwrap();
        fs::write(path(folder.path(), &NetworkId::from_bytes([9; 32])), b"{").unwrap();
        fs::write(folder.path().join("predefined.json"), b"{}").unwrap();
        let half = path(folder.path(), &mine.id).with_extension("new");
        fs::write(&half, b"{").unwrap();
        assert_eq!(read_all(folder.path()).unwrap(), std::slice::from_ref(&mine));
        assert!(!half.exists());
        remove(folder.path(), &mine.id).unwrap();
        remove(folder.path(), &mine.id).unwrap();
        assert!(read_all(folder.path()).unwrap().is_empty());
    }
}
