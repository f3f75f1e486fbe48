//! The guest's end of the private link: whoever connects and says the right words is the host.

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use holm_api::VERSION;
use holm_api::link::{
    Configure, GuestMessage, HostMessage, LENGTH_PREFIX, LINK_VERSION, LONGEST_MESSAGE, decode, encode,
};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::transport::{Listener, Stream};

/// From a connection to its `Configure`. The host has all it says ready before it connects.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(30);
/// The host reads as fast as it can; one that does not is gone.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// Why a link is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkLost {
    /// The host closed it.
    #[error("the host closed the link")]
    Closed,
    /// The host speaks another version.
    #[error("the host speaks version {0} of the link, this guest {LINK_VERSION}")]
    OtherVersion(u32),
    /// What the host said has no place here.
    #[error("the host said {0} out of turn")]
    OutOfTurn(&'static str),
    /// What the host said cannot be read.
    #[error(transparent)]
    Unreadable(#[from] holm_api::link::LinkError),
    /// It did not do its part in time.
    #[error("the host was silent for {} s", .0.as_secs())]
    Silent(Duration),
    /// The stream broke.
    #[error("the link broke")]
    Broken(#[from] io::Error),
}

/// An open link.
#[derive(Debug)]
pub(super) struct Link {
    frames: FramedRead<Stream, LengthDelimitedCodec>,
}

impl Link {
    /// Takes connections until one of them gets as far as its `Configure`. Only one is open at a time.
    pub(super) async fn meet(listener: &Listener) -> io::Result<(Self, Configure)> {
        loop {
            let mut link = Self::new(listener.accept().await?);
            let greeted = timeout(HANDSHAKE_DEADLINE, link.greet()).await;
            match greeted.unwrap_or(Err(LinkLost::Silent(HANDSHAKE_DEADLINE))) {
                Ok(configure) => return Ok((link, configure)),
                Err(error) => tracing::warn!("no host yet: {error}"),
            }
        }
    }

    fn new(stream: Stream) -> Self {
        let frames = LengthDelimitedCodec::builder()
            .length_field_length(LENGTH_PREFIX)
            .max_frame_length(LONGEST_MESSAGE)
            .new_read(stream);
        Self { frames }
    }

    async fn greet(&mut self) -> Result<Configure, LinkLost> {
        let HostMessage::Hello { version } = self.receive().await? else {
            return Err(LinkLost::OutOfTurn("something else before Hello"));
        };
        // Answered in either case: the host tells its user which of the two to update.
        self.send(&GuestMessage::Hello { version: LINK_VERSION, holmd: VERSION.into() }).await?;
        if version != LINK_VERSION {
            return Err(LinkLost::OtherVersion(version));
        }
        match self.receive().await? {
            HostMessage::Configure(configure) => Ok(*configure),
            _ => Err(LinkLost::OutOfTurn("something else before Configure")),
        }
    }

    /// The next message. May be dropped while it waits without losing any.
    pub(super) async fn receive(&mut self) -> Result<HostMessage, LinkLost> {
        let frame = self.frames.next().await.ok_or(LinkLost::Closed)??;
        Ok(decode(&frame)?)
    }

    /// Says something to the host.
    pub(super) async fn send(&mut self, message: &GuestMessage) -> Result<(), LinkLost> {
        let bytes = encode(message)?;
        let sent = timeout(SEND_DEADLINE, self.frames.get_mut().write_all(&bytes)).await;
        Ok(sent.map_err(|_| LinkLost::Silent(SEND_DEADLINE))??)
    }

    /// Returns when the host has closed its side, or after this long: what was sent before has been read then.
    pub(super) async fn until_closed(&mut self, longest: Duration) {
        // Whatever else it still says concerns nobody any more.
        let _ = timeout(longest, async { while self.receive().await.is_ok() {} }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use holm_api::VsockPort;
    use holm_api::link::{Registries, Token, parse_length};
    use tokio::io::AsyncReadExt;
    use tokio::net::UnixStream;

    use crate::transport::Transport;

    fn configure() -> Configure {
        Configure {
            unix_nanos: 1,
            hostname: "holm".into(),
            network_token: Token([7; 32]),
            services_token: Token([8; 32]),
            root_certificates: String::new(),
            registries: Registries::default(),
            routes: Vec::new(),
            proxy: None,
            hypervisor: "qemu".into(),
            image_digest: None,
            binds: holm_api::link::Binds::Served,
        }
    }

    struct Host(UnixStream);

    impl Host {
        async fn connect(folder: &std::path::Path) -> Self {
            Self(UnixStream::connect(folder.join("guest-9.sock")).await.unwrap())
        }

        async fn say(&mut self, message: &HostMessage) {
            self.0.write_all(&encode(message).unwrap()).await.unwrap();
        }

        async fn hear(&mut self) -> GuestMessage {
            let mut prefix = [0; LENGTH_PREFIX];
            self.0.read_exact(&mut prefix).await.unwrap();
            let mut bytes = vec![0; parse_length(prefix).unwrap()];
            self.0.read_exact(&mut bytes).await.unwrap();
            decode(&bytes).unwrap()
        }
    }

    #[tokio::test]
    async fn a_host_of_another_version_learns_ours_and_the_next_one_is_met() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Transport::Unix(folder.path().into()).listen(VsockPort(9)).unwrap();
        let host = async {
            let mut old = Host::connect(folder.path()).await;
            old.say(&HostMessage::Hello { version: LINK_VERSION + 1 }).await;
            let ours = GuestMessage::Hello { version: LINK_VERSION, holmd: VERSION.into() };
            assert_eq!(old.hear().await, ours);
            assert_eq!(old.0.read(&mut [0]).await.unwrap(), 0, "and the guest closes");

            let mut new = Host::connect(folder.path()).await;
            new.say(&HostMessage::Hello { version: LINK_VERSION }).await;
            new.say(&HostMessage::Configure(Box::new(configure()))).await;
            assert_eq!(new.hear().await, ours);
            new
        };
        let (_host, met) = tokio::join!(host, Link::meet(&listener));
        assert_eq!(met.unwrap().1, configure());
    }

    #[tokio::test]
    async fn a_message_that_came_in_pieces_survives_a_wait_that_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Transport::Unix(folder.path().into()).listen(VsockPort(9)).unwrap();
        let mut host = Host::connect(folder.path()).await;
        let mut link = Link::new(listener.accept().await.unwrap());
        let bytes = encode(&HostMessage::SetClock { unix_nanos: 5 }).unwrap();
        let (first, second) = bytes.split_at(7);
        host.0.write_all(first).await.unwrap();
        // Polled once, so that it has taken the first piece.
        assert!(futures_util::future::poll_immediate(link.receive()).await.is_none());
        host.0.write_all(second).await.unwrap();
        assert_eq!(link.receive().await.unwrap(), HostMessage::SetClock { unix_nanos: 5 });
        drop(host);
        assert!(matches!(link.receive().await, Err(LinkLost::Closed)));
    }

    #[tokio::test]
    async fn a_length_over_the_limit_ends_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let listener = Transport::Unix(folder.path().into()).listen(VsockPort(9)).unwrap();
        let mut host = Host::connect(folder.path()).await;
        let mut link = Link::new(listener.accept().await.unwrap());
        host.0.write_all(&[0xff; 4]).await.unwrap();
        assert!(matches!(link.receive().await, Err(LinkLost::Broken(_))));
    }
}
