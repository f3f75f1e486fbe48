//! One boot's conversation with its guest: what it is told in `Configure`, and the streams it may open.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use holm_api::link::{Binds, Configure, GuestMessage, HostMessage, Proxy, Registries, Token};
use holm_api::port;
use holm_api::services::{Answer, Ask, MOST_WAITING};
use holm_vmm::{Listener, Machine};
use tokio::sync::{Semaphore, mpsc};
use tracing::{info, warn};

use super::certificates;
use super::link::{Link, SessionError, unix_nanos};
use super::net::{Gateway, GatewayConfig};
use super::ports::{Ports, PortsError};
use super::services::{self, Serve};
use super::shares::{self, Refused, Shares};
use super::token;

/// What every guest of this daemon is told.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) registries: Registries,
    /// Read at each boot, so that a restart of the machine takes over what has changed.
    pub(super) certificate_folders: Arc<[PathBuf]>,
    pub(super) proxy: Option<Proxy>,
    pub(super) root_certificates: Arc<str>,
    pub(super) hypervisor: &'static str,
    pub(super) image_digest: Option<String>,
    pub(super) binds: Binds,
    /// Told of by `holm share list`, so they are the daemon's and not one guest's.
    pub(super) shares: Arc<Shares>,
}

#[cfg(test)]
impl Guest {
    pub(super) fn for_tests() -> Self {
        Self {
            registries: Registries::default(),
            certificate_folders: Arc::default(),
            proxy: None,
            root_certificates: Arc::from(""),
            hypervisor: "test",
            image_digest: None,
            binds: Binds::Served,
            shares: Arc::default(),
        }
    }
}

/// Serves the guest of `machine` until its link ends: configures it, passes on what it says, and runs its network.
pub(super) async fn serve(
    guest: &Guest,
    machine: &dyn Machine,
    heard: mpsc::Sender<GuestMessage>,
    orders: mpsc::Receiver<HostMessage>,
) -> Result<(), SessionError> {
    // Before the guest can know that it should dial.
    let (packets, requests) = (machine.listen(port::NETWORK.0)?, machine.listen(port::SERVICES.0)?);
    let files = machine.listen(port::FILES.0)?;
    let (network_token, services_token) = (token::new()?, token::new()?);
    let configure = Configure {
        unix_nanos: unix_nanos(),
        hostname: "holm".into(),
        network_token: network_token.clone(),
        services_token: services_token.clone(),
        root_certificates: guest.root_certificates.to_string(),
        registries: Registries {
            certificates: certificates::read(&guest.certificate_folders),
            ..guest.registries.clone()
        },
        routes: super::environment::routes(),
        proxy: guest.proxy.clone(),
        hypervisor: guest.hypervisor.into(),
        image_digest: guest.image_digest.clone(),
        binds: guest.binds,
    };
    let gateway = Gateway::new(GatewayConfig::default());
    let ports = Ports::new(gateway.orders());
    let network = run_network(gateway, packets, network_token);
    let asked = Requests::new(ports, guest.shares.clone());
    let services = services::run(requests, services_token, Arc::new(asked));
    let files = shares::serve(files, guest.shares.clone());
    let link = async {
        // The time in `Configure` is when it is sent, not when the machine was made.
        let link = Link::open(machine).await?;
        link.serve(Configure { unix_nanos: unix_nanos(), ..configure }, heard, orders).await
    };
    tokio::select! {
        ended = link => ended,
        never = network => match never {},
        never = services => match never {},
        never = files => match never {},
    }
}

/// Lets the one stream with the right token speak to the gateway. Never returns: a guest whose network is gone
/// is still one that can be told to shut down.
async fn run_network(gateway: Gateway, mut listener: Box<dyn Listener>, token: Token) -> Infallible {
    loop {
        let Ok(mut stream) = listener.accept().await else { break };
        if !token::opens(&mut stream, &token).await {
            warn!("a stream to the network port did not open with its token; it was closed");
            continue;
        }
        drop(listener);
        let ended = gateway.serve(stream).await;
        // What was dropped and why is all that a log can tell of packets.
        info!(?ended, stats = ?gateway.stats(), "the guest's network ended");
        break;
    }
    std::future::pending().await
}

/// What the engine may ask of this computer.
struct Requests {
    ports: Arc<Ports>,
    /// How many changes of ports may be under way, also such as nobody waits for any more.
    changes: Arc<Semaphore>,
    shares: Arc<Shares>,
}

impl Serve for Requests {
    async fn serve(&self, ask: Ask) -> Answer {
        match ask {
            Ask::OpenPorts(wish) => {
                self.change(|ports| async move { ports.open(wish).await.map(Answer::Ports) }).await
            }
            Ask::ClosePorts(container) => {
                let close = |ports: Arc<Ports>| async move {
                    ports.close(&container).await;
                    Ok(Answer::Done)
                };
                self.change(close).await
            }
            Ask::Keep(containers) => {
                self.shares.keep(&containers);
                let keep = |ports: Arc<Ports>| async move {
                    ports.keep(&containers).await;
                    Ok(Answer::Done)
                };
                self.change(keep).await
            }
            Ask::ShowPorts(shown) => {
                self.change(|ports| async move { ports.show(&shown).await.map(|()| Answer::Done) }).await
            }
            Ask::CheckPath(path) => self.look(move |shares| shares.check(&path).map(|()| Answer::Done)).await,
            Ask::Share(wish) => self.look(move |shares| shares.share(wish).map(Answer::Shared)).await,
            Ask::Unshare(user) => Answer::Ended(self.shares.unshare(&user).await),
            Ask::Which(asked) => Answer::Ended(self.shares.ended(asked)),
        }
    }
}

impl Requests {
    fn new(ports: Ports, shares: Arc<Shares>) -> Self {
        Self { ports: Arc::new(ports), changes: Arc::new(Semaphore::new(MOST_WAITING)), shares }
    }

    /// Changes ports, to the end: a request is dropped with its stream, and half of this would be nobody's to undo.
    async fn change<C>(&self, change: impl FnOnce(Arc<Ports>) -> C) -> Answer
    where
        C: Future<Output = Result<Answer, PortsError>> + Send + 'static,
    {
        let turn = self.changes.clone().acquire_owned().await;
        let change = change(self.ports.clone());
        let done = tokio::spawn(async move {
            let _turn = turn;
            change.await
        });
        let message = match done.await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(refused)) => refused.to_string(),
            Err(panic) => panic.to_string(),
        };
        Answer::Refused { message }
    }

    /// Does what may wait for this computer's file system.
    async fn look(&self, look: impl FnOnce(&Shares) -> Result<Answer, Refused> + Send + 'static) -> Answer {
        let shares = self.shares.clone();
        let done = tokio::task::spawn_blocking(move || look(&shares)).await;
        let message = match done {
            Ok(Ok(answer)) => return answer,
            Ok(Err(absent @ Refused::Missing(_))) => return Answer::Absent { message: absent.to_string() },
            Ok(Err(refused)) => refused.to_string(),
            Err(panic) => panic.to_string(),
        };
        Answer::Refused { message }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::future::poll_immediate;
    use holm_api::ContainerId;
    use holm_api::services::{OpenPorts, PortWish, Protocol, Target};

    use super::super::net::inlet::{Inlet, Order, Owner};
    use super::*;

    #[tokio::test]
    async fn a_change_of_ports_whose_stream_is_replaced_is_carried_out() {
        let (orders, inlet) = Inlet::new();
        let requests = Requests::new(Ports::new(orders.clone()), Arc::default());
        let close = || Order::Close { owner: Owner(0), closed: tokio::sync::oneshot::channel().0 };
        while orders.try_send(close()).is_ok() {}
        let port = PortWish {
            protocol: Protocol::Udp,
            container_port: 7,
            address: Some(Ipv4Addr::LOCALHOST.into()),
            first: 0,
            last: 0,
        };
        let ask = Ask::OpenPorts(OpenPorts {
            container: ContainerId::from_bytes([1; 32]),
            target: Target { v4: Some(Ipv4Addr::new(172, 17, 0, 2)), v6: None },
            inside: Vec::new(),
            ports: vec![port],
        });
        // Polled once and dropped, while the gateway takes no more orders.
        assert!(poll_immediate(requests.serve(ask)).await.is_none());
        let mut order = close();
        while matches!(order, Order::Close { .. }) {
            order = std::future::poll_fn(|context| inlet.poll(context)).await;
        }
        assert!(matches!(order, Order::Datagrams { .. }));
    }
}
