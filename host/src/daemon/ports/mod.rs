//! Published ports: the computer's ports that lead to containers. All of a container's are bound before its
//! program starts, or none.
//!
//! ```text
//!   OpenPorts ► choose (which numbers are free among ours) ► bind (and of the computer's)
//!             ► a task a TCP listener (accept) ─┐
//!             ► UDP sockets ────────────────────┴► net::inlet ► the gateway opens flows to the container
//! ```
//!
//! `shown` has those of programs that share the machine's own network: they are on the loopback only, and one
//! that is taken fails nobody.

mod accept;
mod bind;
mod choose;
mod shown;

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holm_api::ContainerId;
use holm_api::services::{BoundPort, MOST_PORTS, MOST_SHOWN, MOST_SUBNETS, OpenPorts, PortWish, Target};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use self::bind::Socket;
use self::choose::{Taken, groups};
use self::shown::Shown;
use super::net::inlet::{Order, Owner, Sender};
use crate::os;

/// The gateway does it at once.
const CLOSE_DEADLINE: Duration = Duration::from_secs(5);
/// Numbers tried where any will do.
const MOST_TRIES: usize = 1_000;

/// Why ports were not opened. Docker's words.
#[derive(Debug, thiserror::Error)]
pub(super) enum PortsError {
    #[error("Bind for {address}:{port} failed: port is already allocated")]
    Allocated { address: IpAddr, port: u16 },
    #[error("all ports are allocated")]
    AllAllocated,
    #[error("failed to bind host port for {binding}: {}{}", words(.cause), hint(.cause, *.port))]
    Bind { binding: String, port: u16, cause: io::Error },
    #[error("invalid port range: {0}-{1}")]
    Range(u16, u16),
    #[error("a container cannot publish more than {MOST_PORTS} ports")]
    TooMany,
    #[error("no more than {MOST_SHOWN} ports of the machine's own network can be shown")]
    TooManyShown,
}

/// The kernel's errors in the words that Go has for them.
fn words(cause: &io::Error) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "address already in use".to_owned(),
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => cause.to_string(),
    }
}

/// What to do where the system keeps low ports to itself.
fn hint(cause: &io::Error, port: u16) -> String {
    match cause.kind() {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(" ({})", os::low_port_hint(port)),
        _ => String::new(),
    }
}

/// A container's.
struct Opened {
    wish: OpenPorts,
    bound: Vec<BoundPort>,
    owner: Owner,
    /// Dropping them closes them.
    listeners: Vec<AbortOnDropHandle<()>>,
}

/// All published ports of one machine. Dropping it closes them.
pub(super) struct Ports {
    table: Mutex<HashMap<ContainerId, Opened>>,
    /// Those of the machine's own network.
    shown: Mutex<Shown>,
    /// The last number that was handed out where any would do.
    last: Mutex<u16>,
    owners: AtomicU64,
    gateway: Sender,
}

impl Ports {
    /// None yet. What comes through them goes to `gateway`.
    pub(super) fn new(gateway: Sender) -> Self {
        Self {
            table: Mutex::default(),
            shown: Mutex::default(),
            last: Mutex::new(0),
            owners: AtomicU64::new(1),
            gateway,
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<ContainerId, Opened>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_owner(&self) -> Owner {
        Owner(self.owners.fetch_add(1, Ordering::Relaxed))
    }

    /// Opens all that is wished for, or nothing. What is open already under the same wish stays as it is. Needs a
    /// tokio runtime.
    pub(super) async fn open(&self, wish: OpenPorts) -> Result<Vec<BoundPort>, PortsError> {
        check(&wish)?;
        let known =
            self.table().get(&wish.container).map(|opened| (opened.wish == wish, opened.bound.clone()));
        match known {
            Some((true, bound)) => return Ok(bound),
            // It was started anew, perhaps at another address.
            Some((false, _)) => self.close(&wish.container).await,
            None => {}
        }
        let owner = self.new_owner();
        let (bound, datagrams) = self.bind(wish, owner)?;
        for order in datagrams {
            // It ends only with the machine, and then nobody is left to be told.
            let _ = self.gateway.send(order).await;
        }
        Ok(bound)
    }

    /// Binds, enters and starts to listen, in one go: no other container can have the same number meanwhile.
    fn bind(&self, wish: OpenPorts, owner: Owner) -> Result<(Vec<BoundPort>, Vec<Order>), PortsError> {
        let mut table = self.table();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Taken::new(table.values().flat_map(|opened| &opened.bound));
        let mut sockets = Vec::new();
        for group in groups(&wish.ports) {
            sockets.extend(bind_group(&group, &wish.target, &mut taken, &mut last)?);
        }
        let inside: Arc<[_]> = wish.inside.clone().into();
        let (mut bound, mut listeners, mut datagrams) = (Vec::new(), Vec::new(), Vec::new());
        for (port, socket) in sockets {
            let Some(target) = target_of(&wish.target, port.address) else { continue };
            let target = SocketAddr::new(target, port.container_port);
            match socket {
                Socket::Tcp(listener) => {
                    let gateway = self.gateway.clone();
                    let accepting = accept::serve(listener, target, inside.clone(), owner, gateway);
                    listeners.push(AbortOnDropHandle::new(tokio::spawn(accepting)));
                }
                Socket::Udp(socket) => {
                    datagrams.push(Order::Datagrams { socket, target, inside: inside.clone(), owner });
                }
            }
            bound.push(port);
        }
        let opened = Opened { bound: bound.clone(), owner, listeners, wish };
        table.insert(opened.wish.container.clone(), opened);
        Ok((bound, datagrams))
    }

    /// Closes a container's ports. Returns when their numbers are free.
    pub(super) async fn close(&self, container: &ContainerId) {
        let closed = self.table().remove(container);
        if let Some(closed) = closed {
            for listener in closed.listeners {
                listener.abort();
                // Its socket goes with it.
                let _ = listener.await;
            }
            let (told, gone) = oneshot::channel();
            // A gateway without a guest takes no orders; then the numbers are free when its machine ends.
            let telling = async {
                if self.gateway.send(Order::Close { owner: closed.owner, closed: told }).await.is_ok() {
                    let _ = gone.await;
                }
            };
            if timeout(CLOSE_DEADLINE, telling).await.is_err() {
                warn!("the gateway does not close published ports");
            }
        }
    }

    /// Closes the ports of all but these.
    pub(super) async fn keep(&self, containers: &[ContainerId]) {
        let kept: HashSet<_> = containers.iter().collect();
        let others: Vec<_> = self.table().keys().filter(|id| !kept.contains(id)).cloned().collect();
        for container in others {
            self.close(&container).await;
        }
    }
}

fn check(wish: &OpenPorts) -> Result<(), PortsError> {
    if wish.ports.len() > MOST_PORTS || wish.inside.len() > MOST_SUBNETS {
        return Err(PortsError::TooMany);
    }
    let wrong = wish.ports.iter().find(|wish| wish.last < wish.first || (wish.first == 0 && wish.last != 0));
    wrong.map_or(Ok(()), |wish| Err(PortsError::Range(wish.first, wish.last)))
}

/// Where a client that came to `address` goes; `None`: the container has no such address.
fn target_of(target: &Target, address: IpAddr) -> Option<IpAddr> {
    let v4 = target.v4.map(IpAddr::from);
    match address {
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) => target.v6.map(IpAddr::from).or(v4),
    }
}

/// `0.0.0.0:8080:172.17.0.2:80/tcp`
fn binding(port: &BoundPort, target: &Target) -> String {
    let bracketed = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("[{v6}]"),
    };
    let to = target_of(target, port.address).map(|to| format!("{}:", bracketed(to))).unwrap_or_default();
    format!("{}:{}:{to}{}/{}", bracketed(port.address), port.port, port.container_port, port.protocol)
}

/// Binds wishes that differ in nothing but the address under one number.
fn bind_group(
    group: &[PortWish],
    target: &Target,
    taken: &mut Taken,
    last: &mut u16,
) -> Result<Vec<(BoundPort, Socket)>, PortsError> {
    let Some(first) = group.first() else { return Ok(Vec::new()) };
    let mut addresses = choose::addresses(group);
    addresses.retain(|place| target_of(target, place.address).is_some());
    let mut failed = None;
    for port in choose::candidates(first, *last, os::dynamic_ports()).take(match first.first {
        0 => MOST_TRIES,
        _ => usize::MAX,
    }) {
        if let Some(address) = addresses.iter().find(|place| taken.has(first.protocol, place.address, port)) {
            if first.first == first.last && port == first.first {
                return Err(PortsError::Allocated { address: address.address, port });
            }
            continue;
        }
        match bind_all(&addresses, first, port, target) {
            Ok(sockets) => {
                if first.first == 0 {
                    *last = port;
                }
                sockets.iter().for_each(|(port, _)| taken.add(port));
                return Ok(sockets);
            }
            // Another program has it; where there is a choice, the next one may do.
            Err(error) if first.first != 0 && first.first == first.last => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or(PortsError::AllAllocated))
}

fn bind_all(
    places: &[choose::Place],
    wish: &PortWish,
    port: u16,
    target: &Target,
) -> Result<Vec<(BoundPort, Socket)>, PortsError> {
    let mut sockets = Vec::new();
    for place in places {
        let address = place.address;
        let bound = BoundPort { protocol: wish.protocol, container_port: wish.container_port, address, port };
        match bind::bind(wish.protocol, SocketAddr::new(address, port)) {
            Ok(socket) => sockets.push((bound, socket)),
            // A computer without IPv6 has "all addresses" all the same.
            Err(cause) if place.optional && bind::is_missing_family(&cause) => {}
            Err(cause) => {
                return Err(PortsError::Bind { binding: binding(&bound, target), port, cause });
            }
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests;
