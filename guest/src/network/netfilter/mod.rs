//! The machine's packet filter: one fixed set of rules, and sets of interface names that come and go with networks.
//! Written over netlink, so that no other program is needed.
//!
//! ```text
//!   forward:  input . output in @same        accept    containers of one network, where they may talk
//!             input in @bridges, output in @bridges  drop      of two networks
//!             input in @internal              drop      no way out of an internal network
//!             output in @internal             drop      and none into it
//! ```
//!
//! In a container's namespace, two rules lead DNS questions for 127.0.0.11 to the port where [`super::dns`] listens.

mod message;

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

use super::NetworkError;
use super::namespace::Namespace;
use super::netlink::failed;
use message::{
    Attributes, Batch, FIRST, Header, Meta, Packets, SECOND, Verb, Verdict, answers, destination, element,
    equals, immediate, is_in, meta, payload, verdict,
};

const TABLE: &str = "holm";
const FORWARD: &str = "forward";
const SAME: &str = "same";
const BRIDGES: &str = "bridges";
const INTERNAL: &str = "internal";
/// Bytes of a key that is an interface's name (`IFNAMSIZ`).
const NAME: usize = libc::IFNAMSIZ;
/// How userspace's `nft` calls keys of that kind; the kernel passes it on.
const TYPE_NAME: u32 = 41;
const TYPE_PAIR: u32 = TYPE_NAME << 6 | TYPE_NAME;
/// `NF_INET_FORWARD` and `NF_INET_LOCAL_OUT`
const HOOK_FORWARD: u32 = 2;
const HOOK_OUTPUT: u32 = 3;
/// `NF_IP_PRI_NAT_DST`
const PRIORITY_DESTINATION: i32 = -100;
/// How long the kernel may take to answer; it does so within the request.
const PATIENCE: TimeVal = TimeVal::new(10, 0);
/// Bytes of the kernel's answers that are read at once.
const ANSWER: usize = 64 * 1024;

/// What the rules have to know of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filtered {
    /// Its bridge.
    pub interface: String,
    /// It has no way out.
    pub internal: bool,
    /// Its containers may talk to each other.
    pub talkative: bool,
}

/// Writes all rules anew, for these networks.
pub async fn install(networks: &[Filtered]) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    forget_table(&mut batch, Packets::Both);
    batch.add(Verb::NewChain, Packets::Both, &chain(FORWARD, "filter", HOOK_FORWARD, 0));
    let sets = [(SAME, TYPE_PAIR, 2 * NAME), (BRIDGES, TYPE_NAME, NAME), (INTERNAL, TYPE_NAME, NAME)];
    for (number, (set, kind, length)) in (1..).zip(sets) {
        let attributes = Attributes::default().text(1, TABLE).text(2, set).number(3, 0).number(4, kind);
        // The last is the set's number in this transaction, which the kernel wants though nothing refers to it.
        batch.add(Verb::NewSet, Packets::Both, &attributes.number(5, length as u32).number(10, number));
    }
    let (input, output) = (meta(Meta::InputName, FIRST), meta(Meta::OutputName, SECOND));
    let first_output = meta(Meta::OutputName, FIRST);
    let drop = verdict(Verdict::Drop);
    let rules: [&[&Attributes]; 4] = [
        &[&input, &output, &is_in(SAME, FIRST), &verdict(Verdict::Accept)],
        &[&input, &is_in(BRIDGES, FIRST), &first_output, &is_in(BRIDGES, FIRST), &drop],
        &[&input, &is_in(INTERNAL, FIRST), &drop],
        &[&first_output, &is_in(INTERNAL, FIRST), &drop],
    ];
    for rule in rules {
        let attributes = Attributes::default().text(1, TABLE).text(2, FORWARD).list(4, rule.iter().copied());
        batch.add(Verb::NewRule, Packets::Both, &attributes);
    }
    for network in networks {
        elements(&mut batch, Verb::NewElements, network);
    }
    commit_here(batch, "write the packet filter").await
}

/// A network came.
pub async fn add(network: &Filtered) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    elements(&mut batch, Verb::NewElements, network);
    commit_here(batch, "filter the packets of a network").await
}

/// It went.
pub async fn remove(network: &Filtered) -> Result<(), NetworkError> {
    let mut batch = Batch::new();
    elements(&mut batch, Verb::DeleteElements, network);
    commit_here(batch, "forget the packets of a network").await
}

/// In a container's namespace, DNS questions that go to `server` go to the port where it really listens.
pub(super) async fn redirect_dns(
    namespace: &Namespace,
    server: Ipv4Addr,
    udp: u16,
    tcp: u16,
) -> io::Result<()> {
    let mut batch = Batch::new();
    forget_table(&mut batch, Packets::V4);
    batch.add(Verb::NewChain, Packets::V4, &chain("output", "nat", HOOK_OUTPUT, PRIORITY_DESTINATION));
    for (protocol, port) in [(libc::IPPROTO_UDP, udp), (libc::IPPROTO_TCP, tcp)] {
        let rule = [
            meta(Meta::Protocol, FIRST),
            equals(FIRST, &[protocol as u8]),
            // The destination of an IPv4 packet, and that of a UDP or TCP one.
            payload(Header::Network, 16, 4, FIRST),
            equals(FIRST, &server.octets()),
            payload(Header::Transport, 2, 2, FIRST),
            equals(FIRST, &53u16.to_be_bytes()),
            immediate(FIRST, &server.octets()),
            immediate(SECOND, &port.to_be_bytes()),
            destination(FIRST, SECOND),
        ];
        let attributes = Attributes::default().text(1, TABLE).text(2, "output").list(4, &rule);
        batch.add(Verb::NewRule, Packets::V4, &attributes);
    }
    namespace.enter(move || commit(batch)).await
}

/// Made before it is removed: removing one that is not there would be an error.
fn forget_table(batch: &mut Batch, packets: Packets) {
    let table = Attributes::default().text(1, TABLE);
    for verb in [Verb::NewTable, Verb::DeleteTable, Verb::NewTable] {
        batch.add(verb, packets, &table);
    }
}

fn chain(name: &str, kind: &str, hook: u32, priority: i32) -> Attributes {
    let hook = Attributes::default().number(1, hook).bytes(2, &priority.to_be_bytes());
    let attributes = Attributes::default().text(1, TABLE).text(3, name).nested(4, &hook);
    attributes.number(5, Verdict::Accept as u32).text(7, kind)
}

fn elements(batch: &mut Batch, verb: Verb, network: &Filtered) {
    let name = key(&network.interface);
    let mut sets = vec![(BRIDGES, name.to_vec())];
    if network.internal {
        sets.push((INTERNAL, name.to_vec()));
    }
    if network.talkative {
        sets.push((SAME, [name, name].concat()));
    }
    for (set, key) in sets {
        let attributes = Attributes::default().text(1, TABLE).text(2, set).list(3, [&element(&key)]);
        batch.add(verb, Packets::Both, &attributes);
    }
}

/// An interface's name as the kernel compares it. A longer one than it allows is none that it has.
fn key(interface: &str) -> [u8; NAME] {
    let mut key = [0; NAME];
    key.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from);
    key
}

async fn commit_here(batch: Batch, step: &str) -> Result<(), NetworkError> {
    let done = tokio::task::spawn_blocking(move || commit(batch)).await;
    done.unwrap_or_else(|panicked| Err(io::Error::other(panicked))).map_err(failed(step))
}

/// In this thread's namespace.
fn commit(batch: Batch) -> io::Result<()> {
    let mut due = batch.answers();
    let socket = open()?;
    sendto(socket.as_raw_fd(), &batch.finish(), &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut bytes = vec![0; ANSWER];
    while due > 0 {
        let length = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        for code in answers(&bytes[..length]) {
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code));
            }
            due = due.saturating_sub(1);
        }
    }
    Ok(())
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    setsockopt(&socket, ReceiveTimeout, &PATIENCE)?;
    Ok(socket)
}
