//! The services stream on vsock port 1029: what the engine asks of the host while containers come and go.
//!
//! ```text
//!   engine                                  host
//!    │ ── token, 32 bytes ───────────────────► │   good for the machine's life, one stream at a time
//!    │ ── Request{id, ask} ──────────────────► │
//!    │ ◄──────────────────── Reply{id, answer} │   in any order
//! ```
//!
//! Messages are framed as those of [`crate::link`]. What a request opened belongs to the machine, not to the
//! stream: an engine that was started again asks once more for what it needs, which is answered as the first
//! time, and then says with [`Ask::Keep`] whose the rest was.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::ContainerId;
use crate::link::Token;

/// Requests of one stream that may wait for their replies at once. More is a breach of the rules.
pub const MOST_WAITING: usize = 64;
/// Ports that one container may publish.
pub const MOST_PORTS: usize = 16_384;

/// Ports of the machine's own network that are shown on the computer at once.
pub const MOST_SHOWN: usize = 512;

/// Networks that a machine may have.
pub const MOST_SUBNETS: usize = 4_096;

/// What the engine says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Of the engine's choice; the reply carries it.
    pub id: u64,
    /// What it wants.
    pub ask: Ask,
}

/// What the engine may want.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Ports of the computer that lead to a container, all of them or none. Asked again for what is open
    /// already, it is answered as the first time. Answered with [`Answer::Ports`].
    OpenPorts(OpenPorts),
    /// Closes all ports of a container. Connections through them go on; their ends are the container's.
    ClosePorts(ContainerId),
    /// Closes whatever belongs to other containers than these.
    Keep(Vec<ContainerId>),
    /// Exactly these ports, on which programs of the machine's own network listen, are on the computer's loopback,
    /// as far as they are free there. At most [`MOST_SHOWN`]. They are no container's: [`Ask::Keep`] leaves them.
    ShowPorts(Vec<ShownPort>),
    /// Whether something is at a path of the computer's, as a container that is created names it.
    CheckPath(String),
    /// Lets a container reach a folder, a file or a socket of the computer's. Answered with [`Answer::Shared`].
    Share(Share),
    /// Somebody is done with all that was shared for it. Answered with [`Answer::Ended`].
    Unshare(User),
    /// Which shares there are. Answered with [`Answer::Ended`] of those that the engine names and that are no more.
    Which(Vec<ShareId>),
}

/// Names a share for as long as the machine lives. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShareId(pub u64);

/// Who uses shares.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct User {
    /// The container.
    pub container: ContainerId,
    /// 0: itself, while it runs. Otherwise a look into its files, by number.
    pub look: u64,
}

/// [`Ask::Share`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// For whom.
    pub user: User,
    /// As the client wrote it.
    pub path: String,
    /// Whether nothing may be changed by way of this share.
    pub read_only: bool,
    /// Whether a missing folder is made.
    pub creates: bool,
}

/// [`Answer::Shared`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The share; others may use it already.
    pub share: ShareId,
    /// What it is.
    pub kind: SharedKind,
    /// Opens the share's stream; `None` where it has one, and is mounted.
    pub token: Option<Token>,
}

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedKind {
    /// A folder and all that is in it.
    Folder,
    /// One file.
    File,
    /// A socket: its token opens any number of streams, each of which becomes a connection to it.
    Socket,
}

/// [`Ask::OpenPorts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPorts {
    /// Whose they are.
    pub container: ContainerId,
    /// Where connections and datagrams go.
    pub target: Target,
    /// The machine's networks: a client with such an address is shown as the gateway, for an answer to it would
    /// not leave the machine. At most [`MOST_SUBNETS`].
    pub inside: Vec<Subnet>,
    /// What to bind, at most [`MOST_PORTS`].
    pub ports: Vec<PortWish>,
}

/// All addresses with the same beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Any of them.
    pub address: IpAddr,
    /// Bits of the beginning; more than an address has means that address alone.
    pub prefix: u8,
}

impl Subnet {
    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |left: u128, right: u128, bits: u32| {
            let rest = bits.saturating_sub(self.prefix.into());
            // A shift by all bits is no shift.
            left.checked_shr(rest) == right.checked_shr(rest)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same(own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => same(own.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }
}

/// A container's addresses, as the gateway reaches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// `None`: it has no IPv4.
    pub v4: Option<Ipv4Addr>,
    /// `None`: it has no IPv6; what comes over IPv6 goes to `v4`.
    pub v6: Option<Ipv6Addr>,
}

/// A port of the machine's own network, which has the same number on the computer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownPort {
    /// What it carries.
    pub protocol: Protocol,
    /// Its number.
    pub port: u16,
    /// Where it listens.
    pub target: Target,
}

/// What a published port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// One port to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortWish {
    /// What it carries.
    pub protocol: Protocol,
    /// Of the container.
    pub container_port: u16,
    /// Address of the computer to listen on; `None`: all of them, IPv4 and IPv6 under the same number.
    pub address: Option<IpAddr>,
    /// The lowest number that will do; 0: any free one.
    pub first: u16,
    /// The highest that will do.
    pub last: u16,
}

/// One port that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundPort {
    /// What it carries.
    pub protocol: Protocol,
    /// Of the container.
    pub container_port: u16,
    /// Address of the computer that it listens on.
    pub address: IpAddr,
    /// Of the computer.
    pub port: u16,
}

/// What the host says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// As in the request.
    pub id: u64,
    /// What became of it.
    pub answer: Answer,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is done, and these are the ports.
    Ports(Vec<BoundPort>),
    /// It is done, and this is the share.
    Shared(Shared),
    /// It is done, and these shares are no more.
    Ended(Vec<ShareId>),
    /// It is not: nothing is at the path.
    Absent {
        /// For whoever started the container, in Docker's words for a bind.
        message: String,
    },
    /// It is not, and nothing is left of the attempt.
    Refused {
        /// For whoever started the container, in Docker's words where it has some.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{decode, encode};

    #[test]
    fn a_subnet_has_what_begins_like_it() {
        let of = |address: &str, prefix| Subnet { address: address.parse().unwrap(), prefix };
        assert!(of("172.17.0.0", 16).contains("172.17.255.1".parse().unwrap()));
        assert!(!of("172.17.0.0", 16).contains("172.18.0.0".parse().unwrap()));
        assert!(of("0.0.0.0", 0).contains("9.9.9.9".parse().unwrap()));
        assert!(
            of("::", 0).contains("fd00::1".parse().unwrap())
                && !of("::", 0).contains("1.1.1.1".parse().unwrap())
        );
        assert!(!of("10.0.0.1", 200).contains("10.0.0.2".parse().unwrap()));
    }

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let wish = PortWish {
            protocol: Protocol::Udp,
            container_port: 53,
            address: Some(Ipv6Addr::LOCALHOST.into()),
            first: 5300,
            last: 5310,
        };
        let request = Request {
            id: 7,
            ask: Ask::OpenPorts(OpenPorts {
                container: ContainerId::from_bytes([7; 32]),
                target: Target { v4: Some(Ipv4Addr::new(172, 17, 0, 2)), v6: None },
                inside: vec![Subnet { address: Ipv4Addr::new(172, 17, 0, 0).into(), prefix: 16 }],
                ports: vec![wish],
            }),
        };
        let bytes = encode(&request).unwrap();
        assert_eq!(decode::<Request>(&bytes[4..]).unwrap(), request);
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::link::{decode, encode};

    #[test]
    fn no_bytes_break_the_decoder() {
        bolero::check!().for_each(|bytes: &[u8]| {
            if let Ok(request) = decode::<Request>(bytes) {
                let written = encode(&request).unwrap();
                assert_eq!(decode::<Request>(&written[4..]).unwrap(), request);
            }
            let _ = decode::<Reply>(bytes);
        });
    }
}
