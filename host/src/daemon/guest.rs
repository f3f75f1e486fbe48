//! One boot's conversation with its guest: what it is told in `Configure`, and the streams it may open.

use std::convert::Infallible;
use std::sync::Arc;

use holm_api::link::{Binds, Configure, GuestMessage, HostMessage, Proxy, Registries, Token};
use holm_api::port;
use holm_api::services::{Answer, Ask};
use holm_vmm::{Listener, Machine};
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::link::{Link, SessionError, unix_nanos};
use super::net::{Gateway, GatewayConfig};
use super::ports::Ports;
use super::services::{self, Serve};
use super::shares::{self, Refused, Shares};
use super::token;

/// What every guest of this daemon is told.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) registries: Registries,
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
        registries: guest.registries.clone(),
        routes: super::environment::routes(),
        proxy: guest.proxy.clone(),
        hypervisor: guest.hypervisor.into(),
        image_digest: guest.image_digest.clone(),
        binds: guest.binds,
    };
    let gateway = Gateway::new(GatewayConfig::default());
    let ports = Ports::new(gateway.orders());
    let network = run_network(gateway, packets, network_token);
    let asked = Requests { ports, shares: guest.shares.clone() };
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
    ports: Ports,
    shares: Arc<Shares>,
}

impl Serve for Requests {
    async fn serve(&self, ask: Ask) -> Answer {
        match ask {
            Ask::OpenPorts(wish) => match self.ports.open(wish).await {
                Ok(bound) => Answer::Ports(bound),
                Err(error) => Answer::Refused { message: error.to_string() },
            },
            Ask::ClosePorts(container) => {
                self.ports.close(&container).await;
                Answer::Done
            }
            Ask::Keep(containers) => {
                self.ports.keep(&containers).await;
                self.shares.keep(&containers);
                Answer::Done
            }
            Ask::ShowPorts(ports) => match self.ports.show(&ports).await {
                Ok(()) => Answer::Done,
                Err(error) => Answer::Refused { message: error.to_string() },
            },
            Ask::CheckPath(path) => self.look(move |shares| shares.check(&path).map(|()| Answer::Done)).await,
            Ask::Share(wish) => self.look(move |shares| shares.share(wish).map(Answer::Shared)).await,
            Ask::Unshare(user) => Answer::Ended(self.shares.unshare(&user)),
            Ask::Which(asked) => Answer::Ended(self.shares.ended(asked)),
        }
    }
}

impl Requests {
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
