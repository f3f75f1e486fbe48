//! What the engine finds out for `holm doctor`: `GET /holm/diagnosis`, beside the Engine API.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The path of the request.
pub const PATH: &str = "/holm/diagnosis";

/// How things are inside the machine. Judging them is the asker's business.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The clock, in milliseconds since 1970.
    pub time: u64,
    /// The places where images of Docker Hub are asked for, in order.
    pub registries: Vec<RegistryProbe>,
    /// Network interfaces.
    pub links: Vec<Link>,
    /// Bytes that the data disk has left.
    pub disk_free: u64,
    /// Bytes of the data disk.
    pub disk_size: u64,
}

/// One registry, tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryProbe {
    /// `https://registry-1.docker.io`
    pub url: String,
    /// Its name without the port.
    pub host: String,
    /// What the name means inside the machine, or why it means nothing.
    pub addresses: Result<Vec<IpAddr>, String>,
    /// Why it could not be asked; `None` where it answered, whatever the answer was.
    pub failure: Option<String>,
    /// What to do about that, where it is known.
    pub hint: Option<String>,
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// As `ip link` names it.
    pub name: String,
    /// Bytes of its longest packet.
    pub mtu: u32,
}
