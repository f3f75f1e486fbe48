//! Network namespaces that end with their value, and a pair of them with a cable in between.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// Has its own loopback, which is up.
pub(crate) struct Namespace(File);

impl Namespace {
    pub(crate) fn new() -> Result<Namespace> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("network namespaces need root")?;
            ip("link set lo up")?;
            Ok(Namespace(File::open("/proc/thread-self/ns/net")?))
        })
    }

    /// Does something inside, on a thread of its own: its sockets and the programs it starts are there.
    pub(crate) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            work()
        })
    }
}

/// Two namespaces with nothing between them but a cable.
pub(crate) struct Veth {
    pub(crate) near: Namespace,
    pub(crate) far: Namespace,
}

impl Veth {
    /// The far end's; the near one has the address before it.
    pub(crate) const FAR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    pub(crate) fn new() -> Result<Veth> {
        let veth = Veth { near: Namespace::new()?, far: Namespace::new()? };
        let there = format!("/proc/{}/fd/{}", std::process::id(), veth.far.0.as_raw_fd());
        veth.near.within(|| {
            ip(&format!("link add cable type veth peer name cable netns {there}"))?;
            ip("address add 192.0.2.1/24 dev cable")?;
            ip("link set cable up")
        })?;
        veth.far.within(|| {
            ip(&format!("address add {}/24 dev cable", Veth::FAR))?;
            ip("link set cable up")
        })?;
        Ok(veth)
    }
}

/// Runs ip(8) with words that have no spaces.
pub(crate) fn ip(words: &str) -> Result<()> {
    let status = Command::new("ip").args(words.split(' ')).status();
    ensure!(status.context("ip is not installed: type `.ci/deps bench`")?.success(), "`ip {words}` failed");
    Ok(())
}

fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
